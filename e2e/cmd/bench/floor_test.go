package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // resolves the Any
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"gatehouse.dev/e2e/echo"
)

// resource decodes an Any given as JSON.
func resource(t *testing.T, name, text string) *discoveryv3.Resource {
	t.Helper()
	var value anypb.Any
	if err := protojson.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return &discoveryv3.Resource{Name: name, Version: "1", Resource: &value}
}

// handmade is a recording of one route, with virtual hosts as resources of their own.
func handmade(t *testing.T) *recording {
	const ads = `{"ads": {}, "resource_api_version": "V3"}`
	all := resources{}
	all.put(clusterType, resource(t, "c", `{"@type": "`+clusterType+`", "name": "c", "type": "EDS",
		"eds_cluster_config": {"eds_config": `+ads+`}}`))
	all.put(endpointType, resource(t, "c", fmt.Sprintf(`{"@type": "%s", "cluster_name": "c", "endpoints": [{"lb_endpoints":
		[{"endpoint": {"address": {"socket_address": {"address": "%s", "port_value": %d}}}}]}]}`, endpointType, backend, echo.HTTPPort)))
	all.put(listenerType, resource(t, "l", fmt.Sprintf(`{"@type": "%s", "name": "l",
		"address": {"socket_address": {"address": "%s", "port_value": %d}},
		"filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
			"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"stat_prefix": "l", "rds": {"route_config_name": "t", "config_source": %s},
			"http_filters": [{"name": "router", "typed_config": {
				"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}`, listenerType, address, port, ads)))
	all.put(routeType, resource(t, "t", `{"@type": "`+routeType+`", "name": "t", "vhds": {"config_source": `+ads+`}}`))
	r := &recording{all: all}
	for version := range r.versions {
		r.versions[version] = resources{}
		r.versions[version].put(virtualHostType, resource(t, "t/h", fmt.Sprintf(`{"@type": "%s", "name": "t/h",
			"domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"},
			"response_headers_to_add": [{"header": {"key": "%s", "value": "v%d"}}]}]}`, virtualHostType, marker, version)))
	}
	all.put(virtualHostType, r.versions[0][virtualHostType]["t/h"])
	return r
}

func handmadeProxy(t *testing.T, envoy string) *proxy {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"node": map[string]any{"id": "n", "cluster": "c"},
		"dynamic_resources": map[string]any{
			"ads_config": map[string]any{
				"api_type": "DELTA_GRPC", "transport_api_version": "V3",
				"grpc_services": []any{map[string]any{"envoy_grpc": map[string]any{"cluster_name": "xds"}}},
			},
			"cds_config": map[string]any{"ads": map[string]any{}, "resource_api_version": "V3"},
			"lds_config": map[string]any{"ads": map[string]any{}, "resource_api_version": "V3"},
		},
		"static_resources": map[string]any{"clusters": []any{map[string]any{
			"name": "xds", "type": "STATIC",
			"typed_extension_protocol_options": map[string]any{
				"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": map[string]any{
					"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
					"explicit_http_config": map[string]any{"http2_protocol_options": map[string]any{}},
				},
			},
			"load_assignment": map[string]any{"cluster_name": "xds", "endpoints": []any{map[string]any{"lb_endpoints": []any{
				map[string]any{"endpoint": map[string]any{"address": map[string]any{"pipe": map[string]any{"path": "@xds"}}}},
			}}}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	p := &proxy{
		command:       []string{envoy, "-c", path, "--concurrency", "1", "--use-dynamic-base-id"},
		bootstrapPath: path, bootstrap: string(text),
	}
	if err := p.parse(); err != nil {
		t.Fatal(err)
	}
	return p
}

// The floor must bring a real Envoy to serve the recording and each edit of it.
func TestFloorServesARecording(t *testing.T) {
	envoy := os.Getenv("GATEHOUSE_ENVOY")
	if envoy == "" {
		t.Skip("GATEHOUSE_ENVOY does not name an Envoy")
	}
	server, err := echo.Start(echo.Config{IP: backend, HTTPPort: echo.HTTPPort})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	f, err := startFloor(handmade(t), handmadeProxy(t, envoy))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	s := &setup{n: 1}
	if err := s.await(0, 20*time.Second); err != nil {
		log, _ := os.ReadFile(filepath.Join(f.dir, "envoy.log"))
		t.Fatalf("%v\n%s", err, log)
	}
	times, err := s.measure(10, f.edit)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("median %s", quantile(times, 0.5))
}

// The recorder must collect from a delta server what Envoy would ask for.
func TestRecorderFollowsReferences(t *testing.T) {
	f := &floor{recording: handmade(t)}
	socket, stop, err := f.listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r, closeRecorder, err := connect(&proxy{xds: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer closeRecorder()
	if _, _, err := r.drain(500 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, typeURL := range order {
		if len(r.all[typeURL]) != 1 {
			t.Errorf("%s: got %d resources, want 1", typeURL, len(r.all[typeURL]))
		}
	}
	if err := f.edit(1); err != nil {
		t.Fatal(err)
	}
	changed, size, err := r.drain(300 * time.Millisecond)
	if err != nil || size == 0 || changed[virtualHostType]["t/h"] == nil {
		t.Errorf("the edit is not recorded: %v, %d bytes, %v", changed, size, err)
	}
}
