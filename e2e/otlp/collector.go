// Package otlp has a collector of spans (OTLP over gRPC) that tells of each.
package otlp

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Port is OTLP's over gRPC.
const Port = 4317

// Span is what is looked at of one.
type Span struct {
	Service    string
	Name       string
	Attributes map[string]string
}

// Serve collects on a listener until it is closed, and tells of each span.
func Serve(listener net.Listener, tell func(Span)) error {
	server := grpc.NewServer()
	server.RegisterService(&service, collector(tell))
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("collector at %v: %w", listener.Addr(), err)
	}
	return nil
}

type collector func(Span)

type exporter interface {
	export(*trace.TracesData) *emptypb.Empty
}

// The requests and answers of TraceService have the wire format of these messages; its own package brings a REST gateway along.
var service = grpc.ServiceDesc{
	ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
	HandlerType: (*exporter)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(server any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var sent trace.TracesData
			if err := decode(&sent); err != nil {
				return nil, err
			}
			return server.(exporter).export(&sent), nil
		},
	}},
}

func (c collector) export(sent *trace.TracesData) *emptypb.Empty {
	for _, resource := range sent.GetResourceSpans() {
		service := texts(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c(Span{Service: service, Name: span.GetName(), Attributes: texts(span.GetAttributes())})
			}
		}
	}
	return &emptypb.Empty{}
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, attribute := range attributes {
		all[attribute.GetKey()] = attribute.GetValue().GetStringValue()
	}
	return all
}
