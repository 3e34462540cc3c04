package policytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/heroctl/heroctl/policies"
)

// Mutation is what became of the mutants of a set.
type Mutation struct {
	Total     int
	Survivors []Mutant // that no test noticed, in the order of the text
}

// Mutate makes each mistake and runs the tests on it. All tests must pass on the
// policies as they are. The mutants run side by side; the outcome does not depend on
// their order.
func (s *Suite) Mutate(ctx context.Context, files []File, set *policies.Set) (Mutation, error) {
	results, err := s.Run(ctx, set)
	if err != nil {
		return Mutation{}, err
	}
	if len(Failed(results)) > 0 {
		return Mutation{}, errors.New("the tests must pass before mistakes are made")
	}
	mutants := Mutants(files, set)
	killed, failures := make([]bool, len(mutants)), make([]error, len(mutants))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(mutants)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(mutants); i = int(next.Add(1)) - 1 {
				killed[i], failures[i] = notices(ctx, results, mutants[i])
			}
		})
	}
	workers.Wait()
	outcome := Mutation{Total: len(mutants)}
	for i, m := range mutants {
		if !killed[i] {
			outcome.Survivors = append(outcome.Survivors, m)
		}
	}
	return outcome, errors.Join(failures...)
}

// notices reports whether a test fails on the mutant. Only cases that the mistake can
// reach are asked, those first that its policy decided before.
func notices(ctx context.Context, results []Result, m Mutant) (bool, error) {
	e, err := activate(ctx, m.set)
	if err != nil {
		return false, err
	}
	for _, first := range []bool{true, false} {
		for _, r := range results {
			if !reaches(r, m) || (r.Got.Rule.Policy == m.owner) != first {
				continue
			}
			d, _ := e.Authorize(ctx, "test", r.Call)
			if err := ctx.Err(); err != nil {
				return false, err
			}
			if r.Got = d; !r.Passed() {
				return true, nil
			}
		}
	}
	return false, nil
}

// reaches reports whether a mistake can change the decision of a case.
func reaches(r Result, m Mutant) bool {
	if m.resource != "" && m.resource != r.Call.Capability.Resource {
		return false
	}
	return m.guardrail || slices.Contains(r.Call.Principal.Policies, m.owner)
}

// Killed returns how many of a hundred mistakes were noticed; all of none.
func (m Mutation) Killed() float64 {
	if m.Total == 0 {
		return 100
	}
	return 100 * float64(m.Total-len(m.Survivors)) / float64(m.Total)
}

// Text writes the survivors with their diffs, and a line with the sum.
func (m Mutation) Text(w io.Writer) error {
	var b strings.Builder
	for _, one := range m.Survivors {
		fmt.Fprintf(&b, "this mistake would ship: %s\n%s\n", one, one.Diff())
	}
	fmt.Fprintf(&b, "mutants: %s\n", m.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the sum: "57 of 60 mistakes noticed (95.0 %)".
func (m Mutation) Summary() string {
	return fmt.Sprintf("%d of %d mistakes noticed (%.1f %%)", m.Total-len(m.Survivors), m.Total, m.Killed())
}
