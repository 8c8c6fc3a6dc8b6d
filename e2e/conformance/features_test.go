package conformance

import (
	"slices"
	"strings"
	"testing"

	conformancetests "sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

var plans = map[string]Plan{
	"files":             FileMode(),
	"files, mapped":     FileModeWithMappedPorts(),
	GatewayNamespace:    Cluster(GatewayNamespace),
	ControllerNamespace: Cluster(ControllerNamespace),
}

// A new version of the suite brings new features and tests; each must be claimed or refused on purpose.
func TestEveryTestOfTheSuiteRunsOrHasAReason(t *testing.T) {
	for name, plan := range plans {
		for _, test := range conformancetests.ConformanceTests {
			if reason := plan.WhyNot(test); strings.Contains(reason, "unknown feature") && !isMesh(test) {
				t.Errorf("%s: %s: %s", name, test.ShortName, reason)
			}
		}
	}
}

func isMesh(test suite.ConformanceTest) bool {
	return slices.Contains(test.Features, features.SupportMesh)
}

func TestNotRunListNamesTestsOfTheSuite(t *testing.T) {
	for name, plan := range plans {
		for _, short := range plan.Skipped() {
			if !slices.ContainsFunc(conformancetests.ConformanceTests, func(test suite.ConformanceTest) bool { return test.ShortName == short }) {
				t.Errorf("%s: no test of the suite is named %q", name, short)
			}
		}
	}
}

func TestNoFeatureIsBothClaimedAndRefused(t *testing.T) {
	for name, plan := range plans {
		for feature := range plan.unclaimed {
			if plan.Claimed.Has(feature) {
				t.Errorf("%s: %s is in both lists", name, feature)
			}
		}
	}
}
