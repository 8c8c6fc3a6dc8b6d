//go:build cluster

package journeys

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/cluster"
	"gatehouse.dev/e2e/load"
)

// bystander is a Gateway that has nothing to do with a mistake, and must not notice.
const bystander = "bystander.example.com"

// Each mistake says what is wrong and what to do, where its maker looks; and it harms nobody else: under continuous
// traffic no request of another Gateway fails, and what that one's users change has its effect.
func TestMistakesAreExplainedAndHarmNobodyElse(t *testing.T) {
	j := begin(t, "mistakes")
	j.serve(t)
	j.put(t, gateway("bystander")+route("bystander", "bystander", "http", bystander))
	j.AwaitEcho(t, j.Programmed(t, j.namespace, "bystander"), bystander, "/")
	// The pod itself: what happens to the Service while the API server is away is Kubernetes' own.
	address := j.kubectl(t, "get", "pods", "--selector=gateway.networking.k8s.io/gateway-name=bystander", "--output=jsonpath={.items[0].status.podIP}")
	traffic := load.Start(load.Config{Address: address + ":80", Host: bystander, Path: "/", Rate: 50})

	for _, mistake := range []struct {
		name string
		make func(t *testing.T, j *journey)
	}{
		{"an image that cannot be pulled", imageThatCannotBePulled},
		{"an address that cannot be had", addressThatCannotBeHad},
		{"a definition that is missing", missingDefinition},
		{"a right that is missing", missingRight},
		{"a configuration that is refused by its schema", configurationAgainstSchema},
		{"a configuration file that is invalid", invalidConfiguration},
		{"an API server that cannot be reached", unreachableAPIServer},
	} {
		t.Run(mistake.name, func(t *testing.T) {
			mistake.make(t, j)
			edited := strings.ToLower(strings.ReplaceAll(mistake.name, " ", "-"))
			j.put(t, route("edited", "bystander", "http", edited+".example.com"))
			j.AwaitEcho(t, address, edited+".example.com", "/")
		})
	}
	result := traffic.Stop()
	t.Log(result)
	if result.Failed > 0 || result.Requests < 1000 {
		t.Errorf("%d of %d requests of another Gateway failed", result.Failed, result.Requests)
	}
}

// unlucky is a Gateway with something wrong: lines of its spec.
func unlucky(lines string) string {
	return strings.Replace(gateway("unlucky"), "gatewayClassName: eg", "gatewayClassName: eg\n  "+lines, 1)
}

// withParameters refers to an EnvoyProxy.
const withParameters = "infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: unlucky}}"

func (j *journey) end(t *testing.T, objects ...string) {
	t.Helper()
	j.kubectl(t, append([]string{"delete", "--wait=false", "gateway/unlucky"}, objects...)...)
}

func imageThatCannotBePulled(t *testing.T, j *journey) {
	parameters := func(image string) string {
		return fmt.Sprintf(`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: unlucky}
spec: {provider: {type: Kubernetes, kubernetes: {envoyDeployment: {container: {image: %q}}}}}
`, image)
	}
	j.put(t, parameters("localhost/no-such-envoy:1")+"---"+unlucky(withParameters))
	j.condition(t, "gateway/unlucky", ".status.conditions", "Programmed", "False", "NoResources")
	j.message(t, "gateway/unlucky", ".status.conditions", "Programmed", "container envoy", "localhost/no-such-envoy:1", "cannot be pulled")
	j.put(t, parameters(bed.ProxyImage(t)))
	j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "unlucky"), "any.example.com", "/")
	j.end(t, "envoyproxy/unlucky")
}

func addressThatCannotBeHad(t *testing.T, j *journey) {
	j.put(t, unlucky("addresses: [{value: 192.0.2.1}]"))
	j.condition(t, "gateway/unlucky", ".status.conditions", "Programmed", "False", "AddressNotUsable")
	j.message(t, "gateway/unlucky", ".status.conditions", "Programmed", "192.0.2.1", "spec.addresses", "Service mistakes/unlucky-eg")
	j.end(t)
}

// missingDefinition has a Gateway with parameters of a kind that is not there.
func missingDefinition(t *testing.T, j *journey) {
	const definition = "envoyproxies.gateway.envoyproxy.io"
	removed := time.Now()
	j.kubectl(t, "delete", "crd", definition, "--timeout=1m")
	// Whatever fails: other tests need it.
	j.Cleanup(t, func(context.Context) {})
	j.AwaitLog(t, removed, "the kind is gone", "EnvoyProxy")
	j.put(t, unlucky(withParameters))
	j.condition(t, "gateway/unlucky", ".status.conditions", "Accepted", "False", "InvalidParameters")
	j.message(t, "gateway/unlucky", ".status.conditions", "Accepted", "EnvoyProxy mistakes/unlucky", "does not exist")
	j.Install(t, "--wait", "--timeout=5m", takeover) // brings it back
	j.Await(t, "the API server to take the kind", func(ctx context.Context) error {
		return j.Apply(ctx, []byte("{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: EnvoyProxy, metadata: {name: unlucky}, spec: {concurrency: 1}}"),
			"--namespace="+j.namespace)
	})
	j.Programmed(t, j.namespace, "unlucky")
	j.end(t, "envoyproxy/unlucky")
}

// missingRight takes two verbs from the controllers: one for the objects of proxies, one for statuses.
func missingRight(t *testing.T, j *journey) {
	role := "clusterrole/" + j.kubectl(t, "get", "clusterrolebindings", "--output=jsonpath="+
		`{.items[?(@.subjects[0].namespace=="`+bed.Namespace+`")].roleRef.name}`)
	rules := j.kubectl(t, "get", role, "--output=jsonpath={.rules}")
	without := strings.ReplaceAll(rules, `"verbs":["update"]`, `"verbs":["get"]`)
	without = strings.ReplaceAll(without, `"create","patch","delete"`, `"delete"`)
	if without == rules {
		t.Fatalf("the rules are %s", rules)
	}
	// Helm makes it again, and as its own: what kubectl has written it would not overwrite.
	remove := func(ctx context.Context) { _, _ = j.Cluster.Kubectl(ctx, "delete", role, "--ignore-not-found") }
	j.Cleanup(t, remove)
	taken := time.Now()
	j.kubectl(t, "patch", role, "--type=merge", `--patch={"rules": `+without+`}`)
	j.put(t, unlucky(""))
	j.AwaitLog(t, taken, "update gateways.gateway.networking.k8s.io/status", "the Roles and ClusterRoles of the controller",
		"the rule that is missing", `gateways/status`)

	// With the right to say it, the Gateway itself names what cannot be made.
	j.kubectl(t, "patch", role, "--type=merge", `--patch={"rules": `+strings.ReplaceAll(rules, `"create","patch","delete"`, `"delete"`)+`}`)
	j.condition(t, "gateway/unlucky", ".status.conditions", "Programmed", "False", "AddressNotAssigned")
	j.message(t, "gateway/unlucky", ".status.conditions", "Programmed", "cannot patch resource", "the Roles and ClusterRoles of the controller")
	remove(t.Context())
	j.Install(t, "--wait", "--timeout=5m", takeover)
	j.Programmed(t, j.namespace, "unlucky")
	j.end(t)
}

// configurationAgainstSchema is stopped by Helm: the release stays as it was.
func configurationAgainstSchema(t *testing.T, j *journey) {
	for _, wrong := range []struct{ value, words string }{
		{"placement=Nowhere", "/placement"},
		{"controllerName=example.net/mine", "controllerName"},
		{"leaderElection.leaseDuration=soon", "/leaderElection/leaseDuration"},
	} {
		chart, err := bed.Chart()
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Helm(t.Context(), "upgrade", bed.Release, chart, "--namespace="+bed.Namespace, "--reuse-values", "--set="+wrong.value)
		if err == nil || !strings.Contains(err.Error(), wrong.words) {
			t.Errorf("helm says of %s: %v", wrong.value, err)
		}
	}
}

// invalidConfiguration passes the schema: its values do not go together.
func invalidConfiguration(t *testing.T, j *journey) {
	before := j.Controllers(t)
	changed := time.Now()
	j.Install(t, takeover, "--set=leaderElection.leaseDuration=5s") // less than renewDeadline
	j.AwaitLog(t, changed, "configuration file /etc/gatehouse/gatehouse.yaml", "leaderElection: leaseDuration must be longer than renewDeadline")
	if now := j.Controllers(t); !strings.Contains(now, strings.Fields(before)[0]) {
		t.Errorf("the controllers were\n%s\nand are\n%s", before, now)
	}
	j.Install(t, "--wait", "--timeout=5m", takeover)
}

// unreachableAPIServer is away for so long that everybody notices, but not the node.
func unreachableAPIServer(t *testing.T, j *journey) {
	stopped := time.Now()
	j.Cleanup(t, func(ctx context.Context) { _ = j.StartComponent(ctx, cluster.APIServer) })
	if err := j.StopComponent(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	time.Sleep(15 * time.Second)
	if err := j.StartComponent(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := j.AwaitAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.AwaitPathToAPI(t)
	j.AwaitLog(t, stopped, "the API server does not answer", "retrying, nothing that serves is changed meanwhile")
}
