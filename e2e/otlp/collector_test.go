package otlp

import (
	"net"
	"reflect"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
)

func TestEverySpanIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	told := make(chan Span, 2)
	go func() { _ = Serve(listener, func(span Span) { told <- span }) }()
	client, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	attribute := func(key, value string) []*common.KeyValue {
		return []*common.KeyValue{{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}}
	}
	sent := &trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: attribute("service.name", "edge")},
		ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{Name: "one"}, {Name: "two", Attributes: attribute("a", "b")}}}},
	}}}
	err = client.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", sent, &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Span{
		{Service: "edge", Name: "one", Attributes: map[string]string{}},
		{Service: "edge", Name: "two", Attributes: map[string]string{"a": "b"}},
	} {
		if got := <-told; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
