package conformance

import (
	"slices"
	"strings"
	"testing"

	conformancetests "sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// A new version of the suite brings new features and tests; each must be claimed or refused on purpose.
func TestEveryTestOfTheSuiteRunsOrHasAReason(t *testing.T) {
	for _, test := range conformancetests.ConformanceTests {
		if reason := whyNot(test); strings.Contains(reason, "unknown feature") && !isMesh(test) {
			t.Errorf("%s: %s", test.ShortName, reason)
		}
	}
}

func isMesh(test suite.ConformanceTest) bool {
	return slices.Contains(test.Features, features.SupportMesh)
}

func TestNotRunListNamesTestsOfTheSuite(t *testing.T) {
	for name := range notRun {
		if !slices.ContainsFunc(conformancetests.ConformanceTests, func(test suite.ConformanceTest) bool { return test.ShortName == name }) {
			t.Errorf("no test of the suite is named %q", name)
		}
	}
}

func TestNoFeatureIsBothClaimedAndRefused(t *testing.T) {
	for feature := range unclaimed {
		if claimed.Has(feature) {
			t.Errorf("%s is in both lists", feature)
		}
	}
}
