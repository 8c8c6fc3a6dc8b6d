// Package conformance runs the official Gateway API conformance suite against `gatehouse run DIR`.
package conformance

import (
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// claimed are the extended features that must work. The core of the profile comes on top.
var claimed = sets.New[features.FeatureName](
	features.SupportGatewayPort8080,
	features.SupportGatewayHTTPListenerIsolation,
	features.SupportGatewayHTTPSListenerDetectMisdirectedRequests,
	features.SupportGatewayRouteHostnameIntersectionPrecedence,
	features.SupportGatewayStaticAddresses,
	features.SupportListenerSet,

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
)

// Reasons why a feature is not claimed.
const (
	laterIssue    = "comes in a later issue"
	notInFileMode = "has no meaning without a cluster"
)

// unclaimed gives the reason for every other feature that a test of the suite asks for.
var unclaimed = map[features.FeatureName]string{
	features.SupportGRPCRoute:                                                  laterIssue,
	features.SupportTLSRoute:                                                   laterIssue,
	features.SupportTCPRoute:                                                   laterIssue,
	features.SupportUDPRoute:                                                   laterIssue,
	features.SupportBackendTLSPolicy:                                           laterIssue,
	features.SupportBackendTLSPolicySANValidation:                              laterIssue,
	features.SupportClusterTrustBundle:                                         laterIssue,
	features.SupportGatewayBackendClientCertificate:                            laterIssue,
	features.SupportGatewayFrontendClientCertificateValidation:                 laterIssue,
	features.SupportGatewayFrontendClientCertificateValidationInsecureFallback: laterIssue,
	features.SupportGatewayListenerFilters:                                     laterIssue,
	features.SupportGatewayAddressRoutability:                                  laterIssue,
	features.SupportGatewayAddressRoutabilityCluster:                           laterIssue,
	features.SupportMesh:                                                       "gatehouse is no mesh",
	features.SupportGatewayInfrastructure:                                      notInFileMode,
	features.SupportGatewayAddressEmpty:                                        "a host has no allocator of addresses: the bridge gives every Gateway one",
}

// notRun names the tests whose features are all claimed and which still prove nothing here.
var notRun = map[string]string{
	"GatewayPreserveForeignConditions": "files have one writer of statuses; the bridge would be tested, not gatehouse",
	"HTTPRoutePreserveForeignStatus":   "files have one writer of statuses; the bridge would be tested, not gatehouse",
}

// whyNot is the reason why a test does not run, empty when it does.
func whyNot(test suite.ConformanceTest) string {
	supported := claimed.Union(suite.GatewayHTTPConformanceProfile.CoreFeatures)
	for _, feature := range test.Features {
		if supported.Has(feature) {
			continue
		}
		reason := unclaimed[feature]
		if reason == "" {
			reason = "unknown feature"
		}
		return string(feature) + ": " + reason
	}
	return notRun[test.ShortName]
}
