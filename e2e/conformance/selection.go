package conformance

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/gateway-api/conformance/tests"
)

// Selection is the tests of the suite that are to run, by their short names; all when it is empty.
type Selection []string

// ParseSelection reads names that are separated by commas.
func ParseSelection(text string) (Selection, error) {
	var selection Selection
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("the suite has no test %q", name)
		}
		selection = append(selection, name)
	}
	return selection, nil
}

// Has tells whether a test is to run.
func (s Selection) Has(name string) bool {
	return len(s) == 0 || slices.Contains(s, name)
}

// others are the tests that are not to run.
func (s Selection) others() []string {
	return slices.DeleteFunc(names(), s.Has)
}

func names() []string {
	var names []string
	for _, test := range tests.ConformanceTests {
		names = append(names, test.ShortName)
	}
	return names
}
