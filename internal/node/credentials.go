package node

import (
	"sync"

	"roadstead.dev/internal/model/acs"
)

// credentials are the task roles' credentials by their id.
type credentials struct {
	mu   sync.RWMutex
	byID map[string]taskCredentials
}

type taskCredentials struct {
	task string
	acs.IAMRoleCredentials
}

func newCredentials() *credentials { return &credentials{byID: map[string]taskCredentials{}} }

func (c *credentials) put(task string, r *acs.IAMRoleCredentials) {
	if r == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[r.CredentialsID] = taskCredentials{task, *r}
}

func (c *credentials) get(id string) (taskCredentials, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.byID[id]
	return r, ok
}

func (c *credentials) drop(task string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range c.byID {
		if r.task == task {
			delete(c.byID, id)
		}
	}
}
