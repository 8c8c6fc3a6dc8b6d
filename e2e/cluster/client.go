package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// startPatience is for what takes seconds on an idle machine, and may meet a busy one.
const startPatience = 3 * time.Minute

// RESTConfig is for Kubernetes clients; it works from outside the cluster's network as well.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	if !c.Existing() {
		config.Dial = c.DialContext
	}
	return config, nil
}

// Client is a client for the built-in kinds.
func (c *Cluster) Client() (*kubernetes.Clientset, error) {
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// DialContext connects to a numeric address from inside the cluster's network.
func (c *Cluster) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return c.network.DialContext(ctx, network, address)
}

// Start starts a program inside the cluster's network, with the cluster's environment added to its own.
func (c *Cluster) Start(ctx context.Context, cmd *exec.Cmd) error {
	environment, err := c.Environment(ctx)
	if err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, environment...)
	return c.network.Start(cmd)
}

// Run runs a program inside the cluster's network. The error holds what it said.
func (c *Cluster) Run(ctx context.Context, cmd *exec.Cmd) (stdout string, err error) {
	var output, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &complaints
	if err := c.Start(ctx, cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return output.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err,
			strings.TrimSpace(complaints.String()))
	}
	return output.String(), nil
}

// Kubectl runs kubectl and returns what it prints.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	program, err := c.kubectl(ctx)
	if err != nil {
		return "", err
	}
	return c.Run(ctx, exec.CommandContext(ctx, program, args...))
}

// Helm runs helm and returns what it prints.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	dir, err := c.cache.Helm(ctx)
	if err != nil {
		return "", err
	}
	return c.Run(ctx, exec.CommandContext(ctx, filepath.Join(dir, "helm"), args...))
}

// Apply applies manifests on the server's side; arguments are further ones for kubectl.
func (c *Cluster) Apply(ctx context.Context, manifests []byte, arguments ...string) error {
	program, err := c.kubectl(ctx)
	if err != nil {
		return err
	}
	arguments = append([]string{"apply", "--server-side", "--force-conflicts", "--filename=-"}, arguments...)
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Stdin = bytes.NewReader(manifests)
	_, err = c.Run(ctx, cmd)
	return err
}

// GatewayAPI is the folder that kustomize makes the CRDs of the pinned module from, those of the channel "standard" or
// "experimental".
func (c *Cluster) GatewayAPI(ctx context.Context, channel string) (string, error) {
	dir, err := c.cache.GatewayAPI(ctx)
	if err != nil || channel == "standard" { // the folder above both is that of the standard channel
		return dir, err
	}
	return filepath.Join(dir, channel), nil
}

// InstallGatewayAPI applies the CRDs of a channel.
func (c *Cluster) InstallGatewayAPI(ctx context.Context, channel string) error {
	dir, err := c.GatewayAPI(ctx, channel)
	if err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "apply", "--server-side", "--kustomize="+dir); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s",
		"crd/gatewayclasses.gateway.networking.k8s.io", "crd/gateways.gateway.networking.k8s.io",
		"crd/httproutes.gateway.networking.k8s.io")
	return err
}

func (c *Cluster) kubectl(ctx context.Context) (string, error) {
	dir, err := c.cache.Kubernetes(ctx)
	return filepath.Join(dir, "kubectl"), err
}

// AwaitAPI waits until the API server is ready.
func (c *Cluster) AwaitAPI(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return Poll(ctx, startPatience, "the API server", func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(5 * time.Second).DoRaw(ctx)
		return err
	})
}

// AwaitNode waits until the node is ready.
func (c *Cluster) AwaitNode(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return Poll(ctx, startPatience, "the node", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("it is not ready: %v", node.Status.Conditions)
	})
}
