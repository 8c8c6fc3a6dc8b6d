package conformance

import (
	"io/fs"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	upstream "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// GatewayClass is the class that the suite uses.
const GatewayClass = "gatehouse"

// Addresses are one that Gateways can have and one that they cannot.
type Addresses struct{ Usable, Unusable string }

// Options are what the suite is told wherever gatehouse runs.
func Options(plan Plan, only Selection, addresses Addresses, timeouts config.TimeoutConfig) suite.ConformanceOptions {
	return suite.ConformanceOptions{
		ManifestFS: []fs.FS{&upstream.Manifests},
		ConfigurableOptions: suite.ConfigurableOptions{
			GatewayClassName:         GatewayClass,
			SkipTests:                append(plan.Skipped(), only.others()...),
			TimeoutConfig:            timeouts,
			UsableNetworkAddresses:   []gatewayv1.GatewaySpecAddress{address(addresses.Usable)},
			UnusableNetworkAddresses: []gatewayv1.GatewaySpecAddress{address(addresses.Unusable)},
		},
	}
}

func address(value string) gatewayv1.GatewaySpecAddress {
	kind := gatewayv1.IPAddressType
	return gatewayv1.GatewaySpecAddress{Type: &kind, Value: value}
}
