package conformance

import (
	"context"
	"flag"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	conformancetests "sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"gatehouse.dev/e2e/filemode"
	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// mapped are the ports of the suite's listeners for HTTP and gRPC that a process without rights may not bind.
var mapped = gatehouse.PortMap{80: 18080, 81: 18081, 443: 18443}

var only = flag.String("only", "", "tests of the suite to run, by their short names, separated by commas; without any, all")

func TestMain(m *testing.M) { filemode.Main(m) }

func TestFileModeConformance(t *testing.T) {
	log.SetLogger(zap.New(zap.WriteTo(t.Output())))
	selection, err := ParseSelection(*only)
	if err != nil {
		t.Fatal(err)
	}
	options := newOptions(t, selection)
	results := NewResults(plan(), selection)
	options.Hook = results.Record
	s, err := suite.NewConformanceTestSuite(options)
	if err != nil {
		t.Fatalf("make the suite: %v", err)
	}
	// Cleanups run last in, first out: parallel tests of the suite have ended by then.
	t.Cleanup(func() { results.Publish(t) })
	tests := inTurn(conformancetests.ConformanceTests)
	s.Setup(t, tests)
	if err := s.Run(t, tests); err != nil {
		t.Fatal(err)
	}
}

// inTurn keeps a Gateway away from those of other tests that asks for all addresses of the host, and so for its port of each.
func inTurn(tests []suite.ConformanceTest) []suite.ConformanceTest {
	tests = slices.Clone(tests)
	for i := range tests {
		if tests[i].ShortName == "GatewayOptionalAddressValue" {
			tests[i].Parallel = false
		}
	}
	return tests
}

func plan() Plan {
	if filemode.OwnNetwork() {
		return FileMode()
	}
	return FileModeWithMappedPorts()
}

// newOptions starts the imitated cluster and gatehouse and describes them to the suite.
func newOptions(t *testing.T, only Selection) suite.ConformanceOptions {
	crds, err := filemode.LoadCRDs("experimental")
	if err != nil {
		t.Fatal(err)
	}
	var ports gatehouse.PortMap
	if !filemode.OwnNetwork() {
		ports = mapped
	}
	dir := t.TempDir()
	process := gatehouse.Start(t, gatehouse.Options{Dir: dir, Ports: ports})
	cluster := filemode.New(t, filemode.Options{
		Dir: manifest.Dir(dir), CRDs: crds, Controller: gatehouse.ControllerName,
	})
	cluster.Follow(t, process)
	timeouts, plan := timeoutConfig(), plan()
	options := Options(plan, only, Addresses{Usable: "127.30.0.1", Unusable: "192.0.2.1"}, timeouts)
	if len(ports) > 0 {
		options.RoundTripper, options.WebSocketDialer = newRoundTripper(ports, timeouts), &webSocketDialer{ports}
		options.GRPCClient = &grpcClient{ports}
	}
	options.ConformanceProfiles = plan.Profiles()
	options.SupportedFeatures = plan.Asked()
	options.CleanupTestResources = true
	if err := WithClients(&options, cluster.RestConfig()); err != nil {
		t.Fatal(err)
	}
	class := &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: GatewayClass},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: gatehouse.ControllerName},
	}
	if err := options.Client.Create(context.Background(), class); err != nil {
		t.Fatalf("create the GatewayClass: %v", err)
	}
	claims, err := Claims(t.Context(), options.Client, timeouts.GWCMustBeAccepted)
	if err != nil {
		t.Fatal(err)
	}
	// What is claimed does not depend on the rights of this process.
	if err := FileMode().Check(claims); err != nil {
		t.Error(err)
	}
	return options
}

// timeoutConfig is stricter than the suite's: nothing here waits for a cluster.
func timeoutConfig() config.TimeoutConfig {
	c := config.DefaultTimeoutConfig()
	for _, timeout := range []*time.Duration{
		&c.GatewayMustHaveAddress, &c.GatewayMustHaveCondition, &c.GatewayStatusMustHaveListeners,
		&c.GatewayListenersMustHaveConditions, &c.ListenerSetMustHaveCondition,
		&c.ListenerSetListenersMustHaveConditions, &c.GWCMustBeAccepted, &c.HTTPRouteMustNotHaveParents,
		&c.HTTPRouteMustHaveCondition, &c.RouteMustHaveParents, &c.LatestObservedGenerationSet,
		&c.NamespacesMustBeReady, &c.MaxTimeToConsistency,
	} {
		*timeout = 30 * time.Second
	}
	return c
}
