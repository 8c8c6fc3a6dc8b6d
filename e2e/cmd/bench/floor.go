package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// floor is the least that a delta-ADS server can do: it answers subscriptions from a recording and
// sends a changed resource when told to. No state, no gates, no translation.
type floor struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	recording *recording
	dir       string
	stop      func()
	envoy     *exec.Cmd

	mu     sync.Mutex
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	nonce  int
}

func startFloor(recording *recording, p *proxy) (*floor, error) {
	dir, err := os.MkdirTemp("", "floor")
	if err != nil {
		return nil, err
	}
	f := &floor{recording: recording, dir: dir}
	socket, stop, err := f.listen(dir)
	if err != nil {
		return nil, err
	}
	f.stop = stop
	if f.envoy, err = p.start(dir, socket); err != nil {
		stop()
		return nil, err
	}
	return f, nil
}

// listen serves on a socket in a folder.
func (f *floor) listen(dir string) (socket string, stop func(), err error) {
	socket = filepath.Join(dir, "xds.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer(grpc.MaxSendMsgSize(256 << 20))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	return socket, server.Stop, nil
}

func (f *floor) close() {
	_ = f.envoy.Process.Kill()
	_ = f.envoy.Wait()
	f.stop()
	_ = os.RemoveAll(f.dir)
}

// version is the one that the recording ends with.
func (f *floor) version() int { return 0 }

// DeltaAggregatedResources answers each first subscription; acknowledgements need no answer.
func (f *floor) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	f.mu.Lock()
	f.stream = stream
	f.mu.Unlock()
	wildcard := map[string]bool{}
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if request.ErrorDetail != nil {
			fmt.Fprintf(os.Stderr, "floor: Envoy refused %s: %s\n", request.TypeUrl, request.ErrorDetail.Message)
		}
		names := request.ResourceNamesSubscribe
		switch request.TypeUrl {
		case clusterType, listenerType, virtualHostType:
			// Everything, once: nothing here lives on more than one table's virtual hosts.
			if wildcard[request.TypeUrl] {
				continue
			}
			wildcard[request.TypeUrl] = true
			names = slices.Sorted(maps.Keys(f.recording.all[request.TypeUrl]))
		}
		if request.ResponseNonce != "" && len(names) == 0 {
			continue
		}
		if err := f.send(request.TypeUrl, f.recording.all, names); err != nil {
			return err
		}
	}
}

func (f *floor) send(typeURL string, from resources, names []string) error {
	response := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL}
	for _, name := range names {
		if resource := from[typeURL][name]; resource != nil {
			response.Resources = append(response.Resources, resource)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonce++
	response.Nonce = strconv.Itoa(f.nonce)
	return f.stream.Send(response)
}

// edit sends what gatehouse sent for a version.
func (f *floor) edit(version int) error {
	changed := f.recording.versions[version]
	for _, typeURL := range order {
		if names := slices.Sorted(maps.Keys(changed[typeURL])); len(names) > 0 {
			if err := f.send(typeURL, changed, names); err != nil {
				return err
			}
		}
	}
	return nil
}
