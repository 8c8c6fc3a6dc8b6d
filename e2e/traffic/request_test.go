package traffic

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"gatehouse.dev/e2e/echo"
)

// request is what a client asks for.
type request struct {
	host, path string
	header     map[string]string
	tls        bool
}

// reply is everything that came back, with the times between which it was made.
type reply struct {
	request    request
	start, end time.Time
	code       int
	header     http.Header
	body       string
	// certificate is the common name of the server's certificate.
	certificate string
	err         error
}

func (q request) send(client *http.Client, address string) *reply {
	r := &reply{request: q, start: time.Now()}
	defer func() { r.end = time.Now() }()
	scheme := "http://"
	if q.tls {
		scheme = "https://"
	}
	httpRequest, err := http.NewRequest(http.MethodGet, scheme+address+q.path, nil)
	if err != nil {
		r.err = err
		return r
	}
	httpRequest.Host = q.host
	for name, value := range q.header {
		httpRequest.Header.Set(name, value)
	}
	response, err := client.Do(httpRequest)
	if err != nil {
		r.err = err
		return r
	}
	defer response.Body.Close()
	if response.TLS != nil {
		r.certificate = response.TLS.PeerCertificates[0].Subject.CommonName
	}
	body, err := io.ReadAll(response.Body)
	r.code, r.header, r.body, r.err = response.StatusCode, response.Header, string(body), err
	return r
}

// seen is the request as the backend saw it.
func (r *reply) seen() echo.Answer {
	var answer echo.Answer
	_ = json.Unmarshal([]byte(r.body), &answer)
	return answer
}

func (r *reply) backend() string { return r.header.Get("X-Backend") }

// String tells all that is needed to understand an unexpected reply.
func (r *reply) String() string {
	if r == nil {
		return "no reply at all"
	}
	var b strings.Builder
	if r.certificate != "" {
		fmt.Fprintf(&b, "over TLS, certificate %q\n", r.certificate)
	}
	fmt.Fprintf(&b, "GET %s with Host %s and %v\n", r.request.path, r.request.host, r.request.header)
	fmt.Fprintf(&b, "sent %s, took %s\n", r.start.Format("15:04:05.000"), r.end.Sub(r.start).Round(100*time.Microsecond))
	if r.err != nil {
		fmt.Fprintf(&b, "error: %v\n", r.err)
	}
	if r.code != 0 {
		fmt.Fprintf(&b, "status %d, headers %v\nbody: %s\n", r.code, r.header, r.body)
	}
	return b.String()
}
