package engine

import "github.com/heroctl/heroctl/schema"

// Memoised returns how many answers are kept for a list of policy names and a resource.
func (e *Engine) Memoised(names []string, r schema.Resource) int {
	t := e.current.Load().attachedTo(names).tables[r]
	t.memo.mu.RLock()
	defer t.memo.mu.RUnlock()
	return len(t.memo.answers)
}

// Break makes every program that is compiled from now on answer something else.
func (e *Engine) Break(main string) error {
	broken, err := parseMain(main)
	if err == nil {
		e.compiler.main = broken
	}
	return err
}
