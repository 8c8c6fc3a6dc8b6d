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
	// unclaimed gives the reason for every other feature that a test of the suite asks for.
	unclaimed map[features.FeatureName]string
	// notRun names the tests whose features are all claimed and which still prove nothing here.
	notRun map[string]string
}

// FileMode is the plan for `gatehouse run DIR`.
func FileMode() Plan {
	return Plan{
		Claimed:   everywhere.Clone(),
		unclaimed: withoutCluster(),
		notRun: map[string]string{
			"GatewayPreserveForeignConditions": oneWriter,
			"HTTPRoutePreserveForeignStatus":   oneWriter,

			"BackendTLSPolicyPreserveForeignStatus": oneWriter,
			"BackendTLSPolicyGRPCRoute":             "calls with a client of its own, which knows no mapped ports",
		},
	}
}

// Placements of proxies, by their names in the chart's values.
const (
	GatewayNamespace    = "GatewayNamespace"
	ControllerNamespace = "ControllerNamespace"
)

// Cluster is the plan for `gatehouse controller` with its proxies in that place.
func Cluster(placement string) Plan {
	claimed := everywhere.Clone().Insert(features.SupportGatewayInfrastructure, features.SupportGatewayAddressEmpty,
		features.SupportGatewayAddressRoutability, features.SupportGatewayAddressRoutabilityCluster)
	plan := Plan{Claimed: claimed.Union(streams), unclaimed: later}
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
	laterIssue = "comes in a later issue"
	oneWriter  = "files have one writer of statuses; the bridge would be tested, not gatehouse"
)

var later = map[features.FeatureName]string{
	features.SupportMesh: "gatehouse is no mesh",
}

func withoutCluster() map[features.FeatureName]string {
	reasons := maps.Clone(later)
	for feature := range streams {
		reasons[feature] = "only backends of HTTP are played; the live tests of crates/translate have real ones"
	}
	reasons[features.SupportGatewayInfrastructure] = "has no meaning without a cluster"
	reasons[features.SupportGatewayAddressRoutability] = "has no meaning without a cluster"
	reasons[features.SupportGatewayAddressRoutabilityCluster] = "has no meaning without a cluster"
	reasons[features.SupportGatewayAddressEmpty] = "a host has no allocator of addresses: the bridge gives every Gateway one"
	return reasons
}

// profiles are those whose core must work.
var profiles = []suite.ConformanceProfile{suite.GatewayHTTPConformanceProfile, suite.GatewayGRPCConformanceProfile}

// Profiles are the names of the profiles whose core must work.
func Profiles() []suite.ConformanceProfileName {
	var names []suite.ConformanceProfileName
	for _, profile := range profiles {
		names = append(names, profile.Name)
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

// Skipped are the tests that must not run.
func (p Plan) Skipped() []string {
	return slices.Sorted(maps.Keys(p.notRun))
}

// WhyNot is the reason why a test does not run, empty when it does.
func (p Plan) WhyNot(test suite.ConformanceTest) string {
	supported := sets.New(p.Supported()...)
	for _, feature := range test.Features {
		if supported.Has(feature) {
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
