package managedscaling

import (
	"cmp"
	"slices"
)

// Size is what an instance has for tasks.
type Size struct {
	CPU    int // CPU units
	Memory int // MiB
	ENIs   int
	GPUs   int
}

// Task is a kind of task that waits, and how many there are of it.
type Task struct {
	// Size is what one takes.
	Size Size
	// Ports are the instance's that one takes; a UDP port is negative.
	Ports []int
	// Group is the task's; Distinct: no two of it may be on one instance.
	Group    string
	Distinct bool
	Count    int
}

// needed estimates how many instances the waiting tasks need, by packing them
// into instances of the largest size. Tasks that the smallest size cannot run
// are left out: the group might launch it again and again to no end.
func needed(waiting []Task, sizes []Size) int {
	if len(sizes) == 0 {
		for _, t := range waiting {
			if t.Count > 0 {
				return 1 // nobody knows better: one, and then look again
			}
		}
		return 0
	}
	large, small := extent(sizes, func(a, b int) int { return max(a, b) }), extent(sizes, func(a, b int) int { return min(a, b) })
	tasks := slices.DeleteFunc(slices.Clone(waiting), func(t Task) bool { return !fits(t.Size, small) })
	// The largest first, by the part that they take of an instance.
	slices.SortStableFunc(tasks, func(a, b Task) int { return cmp.Compare(share(b.Size, large), share(a.Size, large)) })
	var bins []*bin
	for _, t := range tasks {
		from := 0 // what is full for one is full for the next alike
		for range t.Count {
			for from < len(bins) && !bins[from].takes(&t) {
				from++
			}
			if from == len(bins) {
				bins = append(bins, &bin{left: large, ports: map[int]bool{}, groups: map[string]bool{}})
			}
			bins[from].put(&t)
		}
	}
	return len(bins)
}

// bin is an instance that tasks are packed into.
type bin struct {
	left   Size
	ports  map[int]bool
	groups map[string]bool
}

func (b *bin) takes(t *Task) bool {
	if !fits(t.Size, b.left) || t.Distinct && b.groups[t.Group] {
		return false
	}
	return !slices.ContainsFunc(t.Ports, func(p int) bool { return b.ports[p] })
}

func (b *bin) put(t *Task) {
	b.left.CPU -= t.Size.CPU
	b.left.Memory -= t.Size.Memory
	b.left.ENIs -= t.Size.ENIs
	b.left.GPUs -= t.Size.GPUs
	b.groups[t.Group] = true
	for _, p := range t.Ports {
		b.ports[p] = true
	}
}

func fits(t, in Size) bool {
	return t.CPU <= in.CPU && t.Memory <= in.Memory && t.ENIs <= in.ENIs && t.GPUs <= in.GPUs
}

// share is the largest part that a task takes of any resource.
func share(t, of Size) float64 {
	part := func(a, b int) float64 {
		if a == 0 || b == 0 {
			return 0
		}
		return float64(a) / float64(b)
	}
	return max(part(t.CPU, of.CPU), part(t.Memory, of.Memory), part(t.ENIs, of.ENIs), part(t.GPUs, of.GPUs))
}

// extent is the largest, or the smallest, of each resource.
func extent(sizes []Size, of func(a, b int) int) Size {
	out := sizes[0]
	for _, s := range sizes[1:] {
		out = Size{of(out.CPU, s.CPU), of(out.Memory, s.Memory), of(out.ENIs, s.ENIs), of(out.GPUs, s.GPUs)}
	}
	return out
}
