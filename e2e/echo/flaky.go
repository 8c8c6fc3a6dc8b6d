package echo

import (
	"net"
	"net/http"
	"strconv"

	"golang.org/x/net/websocket"
)

// flaky fails the first ?succeedAfter requests of a ?uuid and echoes the later ones. It fails with
// ?responseCode, or by resetting the connection when there is none, after ?delayRetry.
func (s *Server) flaky(w http.ResponseWriter, r *http.Request) {
	uuid := r.URL.Query().Get("uuid")
	succeedAfter, err := strconv.Atoi(r.URL.Query().Get("succeedAfter"))
	if uuid == "" || err != nil {
		http.Error(w, "uuid and succeedAfter are required", http.StatusBadRequest)
		return
	}
	if !s.mustFail(uuid, succeedAfter) {
		s.echo(w, r)
		return
	}
	if err := pause(r, "delayRetry"); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if code, err := strconv.Atoi(r.URL.Query().Get("responseCode")); err == nil {
		w.WriteHeader(code)
		return
	}
	reset(w)
}

func (s *Server) mustFail(uuid string, succeedAfter int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts[uuid] >= succeedAfter {
		return false
	}
	s.attempts[uuid]++
	return true
}

// reset closes the connection with an RST, which a proxy sees as a connection failure.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "connection cannot be taken over", http.StatusInternalServerError)
		return
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// frame is a WebSocket message with its type, so that binary comes back as binary.
type frame struct {
	payload []byte
	kind    byte
}

var frameCodec = websocket.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		f := v.(frame)
		return f.payload, f.kind, nil
	},
	Unmarshal: func(data []byte, kind byte, v any) error {
		*v.(*frame) = frame{payload: append([]byte(nil), data...), kind: kind}
		return nil
	},
}
