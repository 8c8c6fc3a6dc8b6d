package conformance

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

var only = flag.String("only", "", "run a single test of the suite, by its short name")

// results collects what became of every test.
type results struct {
	mu     sync.Mutex
	passed []string
	failed []string
	notRun []string
	began  time.Time
}

// failures is the number of tests that did not do what they must.
func (r *results) failures() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failed)
}

// record is the suite's hook after each test.
func (r *results) record(t *testing.T, test suite.ConformanceTest, _ *suite.ConformanceTestSuite) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case t.Failed():
		r.failed = append(r.failed, test.ShortName)
	case t.Skipped():
		reason := whyNot(test)
		switch {
		case *only != "":
			reason = "not the one asked for"
		case reason == "":
			// A test that we claim to pass may not slip away.
			r.failed = append(r.failed, test.ShortName+" (skipped itself)")
			return
		}
		r.notRun = append(r.notRun, fmt.Sprintf("%-62s %s", test.ShortName, reason))
	default:
		r.passed = append(r.passed, test.ShortName)
	}
}

func (r *results) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	section := func(title string, lines []string) {
		slices.Sort(lines)
		fmt.Fprintf(&b, "\n%s (%d)\n", title, len(lines))
		for _, line := range lines {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	section("PASSED", r.passed)
	section("NOT RUN", r.notRun)
	section("FAILED", r.failed)
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d not run, %s\n",
		len(r.passed), len(r.failed), len(r.notRun), time.Since(r.began).Round(time.Second))
	return b.String()
}
