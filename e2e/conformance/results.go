package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/yaml"
)

// reportVariable names the file that the table is written to.
const reportVariable = "E2E_REPORT"

// Results collects what became of every test.
type Results struct {
	plan  Plan
	only  Selection
	began time.Time

	mu     sync.Mutex
	passed []string
	failed []string
	notRun []string
}

// NewResults begins a run of a plan, or of some tests of it.
func NewResults(plan Plan, only Selection) *Results {
	return &Results{plan: plan, only: only, began: time.Now()}
}

// Record is the suite's hook after each test.
func (r *Results) Record(t *testing.T, test suite.ConformanceTest, _ *suite.ConformanceTestSuite) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case t.Failed():
		r.failed = append(r.failed, test.ShortName)
	case t.Skipped():
		switch reason := r.plan.WhyNot(test); {
		case !r.only.Has(test.ShortName):
			// Nobody asked for it.
		case reason == "":
			// A test that we claim to pass may not slip away.
			r.failed = append(r.failed, test.ShortName+" (skipped itself)")
		default:
			r.notRun = append(r.notRun, fmt.Sprintf("%-62s %s", test.ShortName, reason))
		}
	default:
		r.passed = append(r.passed, test.ShortName)
	}
}

// Publish logs the table at the end of a test and writes it to the file that E2E_REPORT names.
func (r *Results) Publish(t *testing.T) {
	t.Log(r)
	if n := r.failures(); n > 0 {
		t.Errorf("%d tests did not pass", n)
	}
	if path := os.Getenv(reportVariable); path != "" {
		if err := os.WriteFile(path, []byte(r.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// PublishReport writes the suite's own report beside the table, once all tests have ended.
func PublishReport(t *testing.T, s *suite.ConformanceTestSuite) {
	path := os.Getenv(reportVariable)
	if path == "" {
		return
	}
	report, err := s.Report()
	if err != nil {
		t.Error(err)
		return
	}
	text, err := yaml.Marshal(report)
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(path+".yaml", text, 0o600); err != nil {
		t.Error(err)
	}
}

// failures is the number of tests that did not do what they must.
func (r *Results) failures() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failed)
}

func (r *Results) String() string {
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
