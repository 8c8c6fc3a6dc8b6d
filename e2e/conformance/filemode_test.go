package conformance

import (
	"context"
	"flag"
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

// ports are those of the suite's listeners that an unprivileged process may not bind.
var ports = gatehouse.PortMap{80: 18080, 81: 18081, 443: 18443}

var only = flag.String("only", "", "tests of the suite to run, by their short names, separated by commas; without any, all")

func TestFileModeConformance(t *testing.T) {
	log.SetLogger(zap.New(zap.WriteTo(t.Output())))
	selection, err := ParseSelection(*only)
	if err != nil {
		t.Fatal(err)
	}
	options := newOptions(t, selection)
	results := NewResults(FileMode(), selection)
	options.Hook = results.Record
	s, err := suite.NewConformanceTestSuite(options)
	if err != nil {
		t.Fatalf("make the suite: %v", err)
	}
	// Cleanups run last in, first out: parallel tests of the suite have ended by then.
	t.Cleanup(func() { results.Publish(t) })
	s.Setup(t, conformancetests.ConformanceTests)
	if err := s.Run(t, conformancetests.ConformanceTests); err != nil {
		t.Fatal(err)
	}
}

// newOptions starts the imitated cluster and gatehouse and describes them to the suite.
func newOptions(t *testing.T, only Selection) suite.ConformanceOptions {
	crds, err := filemode.LoadCRDs("experimental")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	process := gatehouse.Start(t, gatehouse.Options{Dir: dir, Ports: ports})
	cluster := filemode.New(t, filemode.Options{
		Dir: manifest.Dir(dir), CRDs: crds, Controller: gatehouse.ControllerName,
	})
	cluster.Follow(t, process)
	timeouts, plan := timeoutConfig(), FileMode()
	options := Options(plan, only, Addresses{Usable: "127.30.0.1", Unusable: "192.0.2.1"}, timeouts)
	options.RoundTripper, options.WebSocketDialer = newRoundTripper(ports, timeouts), &webSocketDialer{ports}
	options.GRPCClient = &grpcClient{ports}
	options.ConformanceProfiles = Profiles()
	options.SupportedFeatures = plan.Supported()
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
