package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"gatehouse.dev/e2e/gatehouse"
)

const typePrefix = "type.googleapis.com/"

// Types in the order in which a change of several is sent.
const (
	clusterType     = typePrefix + "envoy.config.cluster.v3.Cluster"
	endpointType    = typePrefix + "envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType    = typePrefix + "envoy.config.listener.v3.Listener"
	routeType       = typePrefix + "envoy.config.route.v3.RouteConfiguration"
	virtualHostType = typePrefix + "envoy.config.route.v3.VirtualHost"
)

var order = []string{clusterType, endpointType, listenerType, routeType, virtualHostType}

// resources by type and name.
type resources map[string]map[string]*discoveryv3.Resource

// recording is what gatehouse sends: everything, then what each of the two versions changes.
type recording struct {
	all      resources
	versions [2]resources
	sizes    [2]int
}

func (r *recording) editBytes() int { return (r.sizes[0] + r.sizes[1]) / 2 }

// recorder is a delta client that subscribes as Envoy does and acknowledges everything.
type recorder struct {
	stream    discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	responses chan *discoveryv3.DeltaDiscoveryResponse
	all       resources
	asked     map[string]bool
}

// record connects to gatehouse as its Envoy would and edits the route twice.
func record(process *gatehouse.Process, s *setup) (*recording, *proxy, error) {
	proxy, err := findProxy(process)
	if err != nil {
		return nil, nil, err
	}
	r, disconnect, err := connect(proxy)
	if err != nil {
		return nil, nil, err
	}
	defer disconnect()
	if _, _, err := r.drain(3 * time.Second); err != nil {
		return nil, nil, err
	}
	out := &recording{all: r.all}
	for _, version := range []int{1, 0} {
		if err := s.write(version); err != nil {
			return nil, nil, err
		}
		if out.versions[version], out.sizes[version], err = r.drain(time.Second); err != nil {
			return nil, nil, err
		}
	}
	return out, proxy, nil
}

// connect opens the stream and makes the two requests that every Envoy begins with.
func connect(p *proxy) (*recorder, func(), error) {
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := grpc.NewClient("unix://"+p.xds, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256<<20)))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	disconnect := func() {
		cancel()
		_ = conn.Close()
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		disconnect()
		return nil, nil, err
	}
	r := &recorder{
		stream: stream, all: resources{}, asked: map[string]bool{},
		responses: make(chan *discoveryv3.DeltaDiscoveryResponse),
	}
	for _, typeURL := range []string{clusterType, listenerType} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: p.node, TypeUrl: typeURL}); err != nil {
			disconnect()
			return nil, nil, err
		}
	}
	go r.receive(ctx)
	return r, disconnect, nil
}

func (r *recorder) receive(ctx context.Context) {
	defer close(r.responses)
	for {
		response, err := r.stream.Recv()
		if err != nil {
			return
		}
		select {
		case r.responses <- response:
		case <-ctx.Done():
			return
		}
	}
}

// drain takes responses until none comes for a while; it returns what they carried and their size.
func (r *recorder) drain(quiet time.Duration) (resources, int, error) {
	got, size := resources{}, 0
	for {
		select {
		case response, ok := <-r.responses:
			if !ok {
				return nil, 0, fmt.Errorf("gatehouse closed the stream")
			}
			size += proto.Size(response)
			for _, resource := range response.Resources {
				got.put(response.TypeUrl, resource)
				r.all.put(response.TypeUrl, resource)
			}
			if err := r.answer(response); err != nil {
				return nil, 0, err
			}
		case <-time.After(quiet):
			return got, size, nil
		}
	}
}

func (r resources) put(typeURL string, resource *discoveryv3.Resource) {
	if r[typeURL] == nil {
		r[typeURL] = map[string]*discoveryv3.Resource{}
	}
	r[typeURL][resource.Name] = resource
}

// answer acknowledges and asks for what the new resources name.
func (r *recorder) answer(response *discoveryv3.DeltaDiscoveryResponse) error {
	if err := r.stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: response.TypeUrl, ResponseNonce: response.Nonce,
	}); err != nil {
		return err
	}
	for _, resource := range response.Resources {
		typeURL, names, err := references(response.TypeUrl, resource)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return r.asked[typeURL+name] })
		if len(names) == 0 {
			continue
		}
		for _, name := range names {
			r.asked[typeURL+name] = true
		}
		if err := r.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names}); err != nil {
			return err
		}
	}
	return nil
}

// references lists the names that a resource makes Envoy subscribe to.
func references(typeURL string, resource *discoveryv3.Resource) (string, []string, error) {
	switch typeURL {
	case clusterType:
		var cluster clusterv3.Cluster
		if err := resource.Resource.UnmarshalTo(&cluster); err != nil {
			return "", nil, err
		}
		if cluster.GetType() != clusterv3.Cluster_EDS {
			return "", nil, nil
		}
		name := cluster.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = cluster.GetName()
		}
		return endpointType, []string{name}, nil
	case listenerType:
		var listener listenerv3.Listener
		if err := resource.Resource.UnmarshalTo(&listener); err != nil {
			return "", nil, err
		}
		return routeType, routeTables(&listener), nil
	case routeType:
		var table routev3.RouteConfiguration
		if err := resource.Resource.UnmarshalTo(&table); err != nil {
			return "", nil, err
		}
		if table.Vhds == nil {
			return "", nil, nil
		}
		return virtualHostType, []string{"*"}, nil
	}
	return "", nil, nil
}

func routeTables(listener *listenerv3.Listener) []string {
	var names []string
	chains := append(slices.Clone(listener.FilterChains), listener.DefaultFilterChain)
	for _, chain := range chains {
		for _, filter := range chain.GetFilters() {
			var manager hcmv3.HttpConnectionManager
			if filter.GetTypedConfig().UnmarshalTo(&manager) == nil && manager.GetRds() != nil {
				names = append(names, manager.GetRds().GetRouteConfigName())
			}
		}
	}
	return names
}
