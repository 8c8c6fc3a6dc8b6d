// Command bench measures the time from a change to the first answer that shows it, through real
// Envoy, for gatehouse and for the floor: a delta-ADS server that does nothing but send the same
// bytes to the same Envoy, with the same poller.
//
//	GATEHOUSE_BIN=... GATEHOUSE_ENVOY=... go run ./cmd/bench -routes 100,1000
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	routes := flag.String("routes", "100,1000,3000,10000", "numbers of routes, separated by commas")
	edits := flag.Int("edits", 31, "edits to measure for each")
	shape := flag.String("shape", "hostnames", "hostnames: one route each; rules: one hostname for all")
	flag.Parse()
	log.SetFlags(0)
	if os.Getenv("GATEHOUSE_BIN") == "" {
		log.Fatal("GATEHOUSE_BIN does not name a gatehouse binary")
	}
	fmt.Printf("%-8s %-10s %12s %12s %12s %12s %8s %10s %10s\n", "routes", "shape",
		"median", "p90", "floor", "floor p90", "ratio", "bytes/edit", "RSS MiB")
	for count := range strings.SplitSeq(*routes, ",") {
		n, err := strconv.Atoi(count)
		if err != nil {
			log.Fatal(err)
		}
		result, err := measure(n, *edits, *shape)
		if err != nil {
			log.Fatalf("%d routes: %v", n, err)
		}
		median, floor := quantile(result.gatehouse, 0.5), quantile(result.floor, 0.5)
		fmt.Printf("%-8d %-10s %12s %12s %12s %12s %8.2f %10d %10.1f\n", n, *shape,
			show(median), show(quantile(result.gatehouse, 0.9)), show(floor), show(quantile(result.floor, 0.9)),
			float64(median)/float64(floor), result.bytesPerEdit, float64(result.residentKiB)/1024)
	}
}

// quantile of a sample, nearest rank.
func quantile(sample []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(sample))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func show(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
