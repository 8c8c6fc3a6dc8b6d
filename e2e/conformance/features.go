// Package conformance says which tests of the official Gateway API conformance suite run, and collects what becomes of
// them. Its own tests run the suite against `gatehouse run DIR`, those of package cluster against a real cluster.
package conformance

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// Plan says what must work in one way of running gatehouse, and why the rest of the suite is not run.
type Plan struct {
	// Claimed are the extended features that must work. The core of the profiles comes on top.
	Claimed sets.Set[features.FeatureName]
	// besides are features that have no meaning as a whole, while some of their tests do; the others are in notRun.
	besides sets.Set[features.FeatureName]
	// unclaimed gives the reason for every other feature that a test of the suite asks for.
	unclaimed map[features.FeatureName]string
	// notRun names the tests whose features are all claimed and which still prove nothing here.
	notRun map[string]string
}

// FileMode is the plan for `gatehouse run DIR` in a network whose ports may all be bound.
func FileMode() Plan {
	return Plan{
		Claimed:   everywhere.Union(streams),
		besides:   sets.New(features.SupportGatewayInfrastructure),
		unclaimed: withoutCluster(),
		notRun: map[string]string{
			"GatewayPreserveForeignConditions": oneWriter,
			"HTTPRoutePreserveForeignStatus":   oneWriter,

			"BackendTLSPolicyPreserveForeignStatus": oneWriter,

			"GatewayInfrastructureMetadata": "looks for pods and Services of proxies, which are processes here",
		},
	}
}

// FileModeWithMappedPorts is the plan where low ports are not to be had, so that Envoy binds others.
func FileModeWithMappedPorts() Plan {
	plan := FileMode()
	plan.Claimed = everywhere.Clone()
	for feature := range streams {
		plan.unclaimed[feature] = mappedPorts
	}
	plan.notRun["BackendTLSPolicyGRPCRoute"] = mappedPorts
	return plan
}

// Placements of proxies, by their names in the chart's values.
const (
	GatewayNamespace    = "GatewayNamespace"
	ControllerNamespace = "ControllerNamespace"
)

// Cluster is the plan for `gatehouse controller` with its proxies in that place.
func Cluster(placement string) Plan {
	claimed := everywhere.Clone().Insert(features.SupportGatewayInfrastructure, features.SupportGatewayAddressRoutability,
		features.SupportGatewayAddressRoutabilityCluster)
	plan := Plan{Claimed: claimed.Union(streams), unclaimed: nowhere}
	if placement == ControllerNamespace {
		plan.notRun = map[string]string{
			"GatewayInfrastructureMetadata": "looks for the proxies in the Gateway's namespace",
		}
	}
	return plan
}

var everywhere = sets.New[features.FeatureName](
	features.SupportGatewayPort8080,
	features.SupportGatewayHTTPListenerIsolation,
	features.SupportGatewayHTTPSListenerDetectMisdirectedRequests,
	features.SupportGatewayRouteHostnameIntersectionPrecedence,
	features.SupportGatewayStaticAddresses,
	features.SupportGatewayAddressEmpty,
	features.SupportGatewayBackendClientCertificate,
	features.SupportGatewayFrontendClientCertificateValidation,
	features.SupportGatewayFrontendClientCertificateValidationInsecureFallback,
	features.SupportListenerSet,
	features.SupportGatewayListenerFilters,

	features.SupportHTTPRouteDestinationPortMatching,
	features.SupportHTTPRouteBackendRequestHeaderModification,
	features.SupportHTTPRouteQueryParamMatching,
	features.SupportHTTPRouteMethodMatching,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRoutePortRedirect,
	features.SupportHTTPRouteSchemeRedirect,
	features.SupportHTTPRoutePathRedirect,
	features.SupportHTTPRouteHostRewrite,
	features.SupportHTTPRoutePathRewrite,
	features.SupportHTTPRouteRequestMirror,
	features.SupportHTTPRouteRequestMultipleMirrors,
	features.SupportHTTPRouteRequestPercentageMirror,
	features.SupportHTTPRouteRequestTimeout,
	features.SupportHTTPRouteBackendTimeout,
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRouteBackendProtocolH2C,
	features.SupportHTTPRouteBackendProtocolWebSocket,
	features.SupportHTTPRouteNamedRouteRule,
	features.SupportHTTPRouteCORS,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
	features.SupportHTTPRouteRetryCodes,
	features.SupportHTTPRouteRetryConnectionError,
	features.SupportHTTPRouteBackendURLRewrite,

	features.SupportBackendTLSPolicy,
	features.SupportBackendTLSPolicySANValidation,
	features.SupportClusterTrustBundle,

	features.SupportGRPCRouteNamedRouteRule,
	features.SupportGRPCRouteRequestHeaderModifier,
)

// streams are what routes of connections and datagrams ask for.
var streams = sets.New[features.FeatureName](
	features.SupportTLSRoute,
	features.SupportTLSRouteModeTerminate,
	features.SupportTLSRouteModeMixed,
	features.SupportTCPRoute,
	features.SupportUDPRoute,
)

// Reasons why something is not run.
const (
	oneWriter   = "files have one writer of statuses; the bridge would be tested, not gatehouse"
	mappedPorts = "the suite's own clients know no mapped ports, and there are rights neither to a network nor to low ports"
)

// nowhere are the features that gatehouse does not have.
var nowhere = map[features.FeatureName]string{
	features.SupportMesh: "gatehouse is no mesh",
}

func withoutCluster() map[features.FeatureName]string {
	reasons := maps.Clone(nowhere)
	reasons[features.SupportGatewayAddressRoutability] = "has no meaning without a cluster"
	reasons[features.SupportGatewayAddressRoutabilityCluster] = "has no meaning without a cluster"
	return reasons
}

// profiles are those whose core must work everywhere; that of the others is in the plans' claims.
var profiles = []suite.ConformanceProfile{suite.GatewayHTTPConformanceProfile, suite.GatewayGRPCConformanceProfile}

// Profiles are the names of the profiles whose core must work.
func (p Plan) Profiles() []suite.ConformanceProfileName {
	names := []suite.ConformanceProfileName{suite.GatewayHTTPConformanceProfileName, suite.GatewayGRPCConformanceProfileName}
	supported := sets.New(p.Supported()...)
	for _, profile := range []suite.ConformanceProfile{
		suite.GatewayTLSConformanceProfile, suite.GatewayTCPConformanceProfile, suite.GatewayUDPConformanceProfile,
	} {
		if supported.IsSuperset(profile.CoreFeatures) {
			names = append(names, profile.Name)
		}
	}
	return names
}

// Supported are all features of the plan, sorted.
func (p Plan) Supported() []features.FeatureName {
	supported := p.Claimed.Clone()
	for _, profile := range profiles {
		supported = supported.Union(profile.CoreFeatures)
	}
	return sets.List(supported)
}

// Asked are the features whose tests the suite is to run, sorted.
func (p Plan) Asked() []features.FeatureName {
	return sets.List(sets.New(p.Supported()...).Union(p.besides))
}

// Skipped are the tests that must not run.
func (p Plan) Skipped() []string {
	return slices.Sorted(maps.Keys(p.notRun))
}

// WhyNot is the reason why a test does not run, empty when it does.
func (p Plan) WhyNot(test suite.ConformanceTest) string {
	asked := sets.New(p.Asked()...)
	for _, feature := range test.Features {
		if asked.Has(feature) {
			continue
		}
		reason := p.unclaimed[feature]
		if reason == "" {
			reason = "unknown feature"
		}
		return string(feature) + ": " + reason
	}
	return p.notRun[test.ShortName]
}
