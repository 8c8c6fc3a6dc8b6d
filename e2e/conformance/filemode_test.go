package conformance

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	"sigs.k8s.io/gateway-api/conformance"
	conformancetests "sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"gatehouse.dev/e2e/filemode"
	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

const gatewayClass = "gatehouse"

// ports are those of the suite's listeners that an unprivileged process may not bind.
var ports = gatehouse.PortMap{80: 18080, 81: 18081, 443: 18443}

func TestFileModeConformance(t *testing.T) {
	log.SetLogger(zap.New(zap.WriteTo(t.Output())))
	options := newOptions(t)
	collected := &results{began: time.Now()}
	options.Hook = collected.record
	s, err := suite.NewConformanceTestSuite(options)
	if err != nil {
		t.Fatalf("make the suite: %v", err)
	}
	// Cleanups run last in, first out: parallel tests of the suite have ended by then.
	t.Cleanup(func() { publish(t, collected) })
	s.Setup(t, conformancetests.ConformanceTests)
	if err := s.Run(t, conformancetests.ConformanceTests); err != nil {
		t.Fatal(err)
	}
}

// publish logs the table and writes it to the file that E2E_REPORT names.
func publish(t *testing.T, collected *results) {
	t.Log(collected)
	if n := collected.failures(); n > 0 {
		t.Errorf("%d tests did not pass", n)
	}
	if path := os.Getenv("E2E_REPORT"); path != "" {
		if err := os.WriteFile(path, []byte(collected.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// newOptions starts the imitated cluster and gatehouse and describes them to the suite.
func newOptions(t *testing.T) suite.ConformanceOptions {
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
	cfg := cluster.RestConfig()
	c, clientOptions := newClient(t, cfg)
	class := &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: gatewayClass},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: gatehouse.ControllerName},
	}
	if err := c.Create(context.Background(), class); err != nil {
		t.Fatalf("create the GatewayClass: %v", err)
	}
	timeouts := timeoutConfig()
	return suite.ConformanceOptions{
		Client: c, ClientOptions: clientOptions, RestConfig: cfg,
		Clientset:       kubernetes.NewForConfigOrDie(cfg),
		RoundTripper:    newRoundTripper(ports, timeouts),
		WebSocketDialer: &webSocketDialer{ports},
		ManifestFS:      []fs.FS{&conformance.Manifests},
		ConfigurableOptions: suite.ConfigurableOptions{
			GatewayClassName:         gatewayClass,
			ConformanceProfiles:      []suite.ConformanceProfileName{suite.GatewayHTTPConformanceProfileName},
			SupportedFeatures:        claimed.UnsortedList(),
			SkipTests:                slices.Collect(maps.Keys(notRun)),
			RunTest:                  *only,
			TimeoutConfig:            timeouts,
			CleanupTestResources:     true,
			UsableNetworkAddresses:   []gatewayv1.GatewaySpecAddress{address("127.30.0.1")},
			UnusableNetworkAddresses: []gatewayv1.GatewaySpecAddress{address("192.0.2.1")},
		},
	}
}

func newClient(t *testing.T, cfg *rest.Config) (client.Client, client.Options) {
	scheme := clientscheme.Scheme
	for _, add := range []func() error{
		func() error { return gatewayv1.Install(scheme) },
		func() error { return gatewayv1beta1.Install(scheme) },
		func() error { return apiextensionsv1.AddToScheme(scheme) },
	} {
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	options := client.Options{Scheme: scheme}
	c, err := client.New(cfg, options)
	if err != nil {
		t.Fatal(err)
	}
	return c, options
}

func address(value string) gatewayv1.GatewaySpecAddress {
	kind := gatewayv1.IPAddressType
	return gatewayv1.GatewaySpecAddress{Type: &kind, Value: value}
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
