//go:build cluster

// Package cluster runs the official conformance suite against gatehouse on a real cluster, installed by its chart.
package cluster

import (
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	conformancetests "sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/conformance"
)

const (
	// usable is an address of the external pool that MetalLB, which begins with the first, does not give away by itself.
	usable = "172.30.20.240"
	// unusable is in no pool.
	unusable = "192.0.2.1"
)

var (
	only      = flag.String("only", "", "tests of the suite to run, by their short names, separated by commas; without any, all")
	profiles  = flag.String("profiles", string(suite.GatewayHTTPConformanceProfileName), "profiles, separated by commas")
	placement = flag.String("placement", conformance.GatewayNamespace, "where proxies run, as in the chart's values")
)

func TestMain(m *testing.M) { bed.Main(m) }

func TestClusterConformance(t *testing.T) {
	log.SetLogger(zap.New(zap.WriteTo(t.Output())))
	selection, err := conformance.ParseSelection(*only)
	if err != nil {
		t.Fatal(err)
	}
	options := newOptions(t, install(t), selection)
	results := conformance.NewResults(conformance.Cluster(*placement), selection)
	options.Hook = results.Record
	s, err := suite.NewConformanceTestSuite(options)
	if err != nil {
		t.Fatalf("make the suite: %v", err)
	}
	// Cleanups run last in, first out: parallel tests of the suite have ended by then.
	t.Cleanup(func() {
		results.Publish(t)
		conformance.PublishReport(t, s)
	})
	s.Setup(t, conformancetests.ConformanceTests)
	if err := s.Run(t, conformancetests.ConformanceTests); err != nil {
		t.Fatal(err)
	}
}

// modest has proxies ask for little: the suite keeps more Gateways at once than a node of two processors has place for.
const modest = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: modest, namespace: ` + bed.Namespace + `}
spec: {provider: {type: Kubernetes, kubernetes: {envoyDeployment: {container: {resources: {requests: {cpu: 10m, memory: 64Mi}}}}}}}
`

// install installs what is tested.
func install(t *testing.T) *bed.Bed {
	b := bed.Attach(t)
	b.InstallExperimental(t)
	b.Install(t, "--wait", "--timeout=5m", "--set=placement="+*placement,
		"--set=gatewayClass.create=true,gatewayClass.name="+conformance.GatewayClass,
		"--set=gatewayClass.parametersRef.group=gateway.envoyproxy.io,gatewayClass.parametersRef.kind=EnvoyProxy",
		"--set=gatewayClass.parametersRef.name=modest,gatewayClass.parametersRef.namespace="+bed.Namespace)
	b.Put(t, modest)
	return b
}

// newOptions describes the cluster to the suite, with the features that the GatewayClass claims.
func newOptions(t *testing.T, b *bed.Bed, only conformance.Selection) suite.ConformanceOptions {
	cleanup := len(only) == 0 || os.Getenv("E2E_KEEP") == ""
	plan, timeouts := conformance.Cluster(*placement), config.DefaultTimeoutConfig()
	// A namespace ends with its pods, and those take the time to drain.
	timeouts.DeleteTimeout = bed.Patience
	options := conformance.Options(plan, only, conformance.Addresses{Usable: usable, Unusable: unusable}, timeouts)
	options.Implementation = confv1.Implementation{Organization: "gatehouse", Project: "gatehouse", URL: "https://gatehouse.dev", Version: bed.Version(t)}
	options.Mode = *placement
	options.ConformanceProfiles = suite.ParseConformanceProfilesSlice(*profiles)
	options.CleanupBaseResources, options.CleanupTestResources = cleanup, cleanup
	cfg, err := b.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := conformance.WithClients(&options, cfg); err != nil {
		t.Fatal(err)
	}
	claims, err := conformance.Claims(t.Context(), options.Client, bed.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Check(claims); err != nil {
		t.Error(err)
	}
	options.SupportedFeatures = claims.UnsortedList()
	return options
}
