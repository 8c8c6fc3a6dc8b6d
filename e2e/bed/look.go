package bed

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

const controllers = "app.kubernetes.io/name=gatehouse"

// Metrics are what the leading controller counts, by series: a name and its labels as Prometheus prints them.
type Metrics map[string]float64

// Metrics asks the leader.
func (b *Bed) Metrics(t testing.TB) Metrics {
	t.Helper()
	var found Metrics
	b.Await(t, "the leader's metrics", func(ctx context.Context) error {
		address, err := b.Cluster.Kubectl(ctx, "--namespace="+Namespace, "get", "pods", "--selector="+controllers+",gatehouse.dev/leader=true",
			"--output=jsonpath={.items[*].status.podIP}")
		if err != nil || strings.Contains(address, " ") || address == "" {
			return fmt.Errorf("leaders at %q, %v", address, err)
		}
		response, body, err := b.Get(ctx, address+":19001", address, "/metrics")
		if err != nil || response.StatusCode != 200 {
			return fmt.Errorf("%v, %v", response, err)
		}
		found = parse(string(body))
		return nil
	})
	return found
}

func parse(text string) Metrics {
	found := Metrics{}
	for line := range strings.Lines(text) {
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || line[0] == '#' {
			continue
		}
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64); err == nil {
			found[line[:end]] = value
		}
	}
	return found
}

// Sum adds up the series of a name that have all of these labels, each as name="value". What was never counted has none.
func (m Metrics) Sum(name string, labels ...string) float64 {
	sum := 0.0
series:
	for series, value := range m {
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue series
			}
		}
		sum += value
	}
	return sum
}

// Controllers are the pods of the installation, each with how often its container was started again.
func (b *Bed) Controllers(t testing.TB) string {
	t.Helper()
	return b.Kubectl(t, "--namespace="+Namespace, "get", "pods", "--selector="+controllers,
		`--output=jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount}{"\n"}{end}`)
}

// AwaitLog waits until a controller says all of these words in one line of its log after that time, and gives the line.
func (b *Bed) AwaitLog(t testing.TB, since time.Time, words ...string) string {
	t.Helper()
	said := ""
	b.Await(t, fmt.Sprintf("a controller to log %q", words), func(ctx context.Context) error {
		logs, err := b.Cluster.Kubectl(ctx, "--namespace="+Namespace, "logs", "--selector="+controllers, "--tail=-1",
			"--since-time="+since.Format(time.RFC3339), "--ignore-errors")
		if err != nil {
			return err
		}
	lines:
		for line := range strings.Lines(logs) {
			for _, word := range words {
				if !strings.Contains(line, word) {
					continue lines
				}
			}
			said = strings.TrimSpace(line)
			return nil
		}
		return fmt.Errorf("the last lines are %s", logs[max(0, len(logs)-1000):])
	})
	return said
}
