package l7

// Connections counts the open connections to the target.
func (t *Target) Connections() int64 {
	if t.h2 != nil {
		return t.h2.open()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := int64(len(t.idle))
	for u := t.active.next; u != &t.active; u = u.next {
		n++
	}
	return n
}

func (m *multiplexer) open() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.conns))
}
