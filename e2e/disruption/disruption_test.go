//go:build cluster

// Disrupts an installation in every way that operators and machines do, under continuous traffic of which no request
// may fail.
package disruption

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/cluster"
	"gatehouse.dev/e2e/load"
)

const (
	host = "www.example.com"
	// requests is the least number that each disruption must let through.
	requests = 20_000
	rate     = 300
	// editLimit is how long an edit may take to be live, once the API server took it.
	editLimit = 10 * time.Second

	controllers = "app.kubernetes.io/name=gatehouse"
	leader      = controllers + ",gatehouse.dev/leader=true"
	proxies     = "gateway.networking.k8s.io/gateway-name=eg"
	proxy       = "eg-eg" // the name of the quickstart's Deployment and Service
)

func TestMain(m *testing.M) { bed.Main(m) }

// site is an installation that serves the quickstart.
type site struct {
	*bed.Bed
	address string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Bed: bed.New(t)}
	s.PutFile(t, "manifests", "quickstart.yaml")
	s.address = s.Programmed(t, "default", "eg")
	s.Rolled(t, "default", proxy)
	s.AwaitEcho(t, s.address, host, "/")
	return s
}

// undisturbed disrupts under traffic, and fails if a request did.
func (s *site) undisturbed(t *testing.T, disrupt func()) {
	t.Helper()
	traffic := load.Start(load.Config{Address: s.address + ":80", Host: host, Path: "/", Rate: rate})
	// Registered too for a disruption that fails the test.
	defer func() {
		result := traffic.Stop()
		t.Log(result)
		if result.Failed > 0 {
			t.Errorf("%d requests failed", result.Failed)
		}
	}()
	s.Await(t, "traffic before the disruption", func(context.Context) error { return traffic.Enough(3 * rate) })
	disrupt()
	t.Logf("the disruption was over at %s", time.Now().Format("15:04:05.000"))
	s.Await(t, "traffic", func(context.Context) error { return traffic.Enough(requests) })
}

// editIsLive makes a route of its own and waits until it is served.
func (s *site) editIsLive(t *testing.T) {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "_", "-"))
	edited := name + ".example.com"
	s.Cleanup(t, func(ctx context.Context) {
		_, _ = s.Cluster.Kubectl(ctx, "delete", "httproute", name, "--ignore-not-found")
	})
	route := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: default}
spec:
  parentRefs: [{name: eg}]
  hostnames: [%s]
  rules: [{backendRefs: [{name: backend, port: 3000}]}]
`, name, edited)
	// Admission may refuse for a moment after the API server came back.
	s.Await(t, "the API server to take an edit", func(ctx context.Context) error { return s.Apply(ctx, []byte(route)) })
	taken := time.Now()
	s.AwaitStatus(t, http.StatusOK, s.address, edited, "/")
	live := time.Since(taken)
	t.Logf("an edit was live after %v", live.Round(10*time.Millisecond))
	if live > editLimit {
		t.Errorf("an edit was live only after %v", live)
	}
}

func TestControllersDeleted(t *testing.T) {
	s := newSite(t)
	s.undisturbed(t, func() {
		s.Kubectl(t, "--namespace="+bed.Namespace, "delete", "pod", "--selector="+controllers)
		s.Rolled(t, bed.Namespace, bed.Release)
		s.editIsLive(t)
	})
}

func TestControllersRolled(t *testing.T) {
	s := newSite(t)
	s.undisturbed(t, func() {
		s.Kubectl(t, "--namespace="+bed.Namespace, "rollout", "restart", "deployment/"+bed.Release)
		s.Rolled(t, bed.Namespace, bed.Release)
		s.editIsLive(t)
	})
}

func TestLeaderKilled(t *testing.T) {
	s := newSite(t)
	var first []string
	s.Await(t, "a leader", func(context.Context) error {
		if first = s.Pods(t, bed.Namespace, leader); len(first) != 1 {
			return fmt.Errorf("leaders: %v", first)
		}
		return nil
	})
	s.undisturbed(t, func() {
		s.Kubectl(t, "--namespace="+bed.Namespace, "delete", "pod", first[0], "--grace-period=0", "--force")
		killed := time.Now()
		s.Await(t, "another leader", func(context.Context) error {
			if now := s.Pods(t, bed.Namespace, leader); len(now) != 1 || now[0] == first[0] {
				return fmt.Errorf("leaders: %v", now)
			}
			return nil
		})
		t.Logf("another led after %.1f s", time.Since(killed).Seconds())
		s.editIsLive(t)
	})
}

func TestAPIServerAway30Seconds(t *testing.T)  { apiServerAway(t, 30*time.Second) }
func TestAPIServerAwayTwoMinutes(t *testing.T) { apiServerAway(t, 2*time.Minute) }

func apiServerAway(t *testing.T, outage time.Duration) {
	s := newSite(t)
	// A node that turns NotReady makes the proxies unready too, and kube-proxy then refuses what comes to their Service: that
	// is Kubernetes' own doing. Here it is about what proxies do with what reaches them.
	s.onlyReadyProxies(t, 1)
	s.address = s.Kubectl(t, "get", "pods", "--selector="+proxies, "--output=jsonpath={.items[0].status.podIP}")
	t.Cleanup(func() { _ = s.StartComponent(context.Background(), cluster.APIServer) })
	s.undisturbed(t, func() {
		if err := s.StopComponent(t.Context(), cluster.APIServer); err != nil {
			t.Fatal(err)
		}
		time.Sleep(outage)
		if err := s.StartComponent(t.Context(), cluster.APIServer); err != nil {
			t.Fatal(err)
		}
		if err := s.AwaitAPI(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.AwaitPathToAPI(t)
		s.editIsLive(t)
		if err := s.AwaitNode(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestProxiesRolled(t *testing.T) {
	s := newSite(t)
	s.undisturbed(t, func() {
		s.Kubectl(t, "rollout", "restart", "deployment/"+proxy)
		s.Rolled(t, "default", proxy)
		s.onlyReadyProxies(t, 1)
	})
}

func TestProxiesScaled(t *testing.T) {
	s := newSite(t)
	s.undisturbed(t, func() {
		for _, replicas := range []int{3, 1} {
			s.Kubectl(t, "scale", "deployment/"+proxy, fmt.Sprintf("--replicas=%d", replicas))
			s.Rolled(t, "default", proxy)
			s.onlyReadyProxies(t, replicas)
		}
	})
}

// onlyReadyProxies waits until the proxies that end have ended.
func (s *site) onlyReadyProxies(t *testing.T, wanted int) {
	t.Helper()
	s.Await(t, fmt.Sprintf("%d proxies", wanted), func(context.Context) error {
		if pods := s.Pods(t, "default", proxies); len(pods) != wanted {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
}

func TestChartUpgraded(t *testing.T) {
	s := newSite(t)
	s.undisturbed(t, func() {
		// The proxies run the same image as their agent, so they are rolled as well.
		s.Install(t, "--wait", "--timeout=5m", "--set=image.tag="+bed.NextTag, "--set=log.level=debug")
		s.Await(t, "proxies of the next version", func(ctx context.Context) error {
			images, err := s.Cluster.Kubectl(ctx, "get", "pods", "--selector="+proxies, "--output=jsonpath={.items[*].spec.initContainers[*].image}")
			if err != nil {
				return err
			}
			if !strings.Contains(images, ":"+bed.NextTag) || strings.Contains(images, ":dev") {
				return fmt.Errorf("their images are %s", images)
			}
			return nil
		})
		s.editIsLive(t)
	})
}
