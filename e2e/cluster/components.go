package cluster

import (
	"path/filepath"

	"gatehouse.dev/e2e/cluster/node"
)

// The cluster's addresses. Every cluster has the same, each in a network of its own.
const (
	nodeAddress    = "172.30.0.1"
	nodePrefix     = "/16" // holds the pools of MetalLB too: they are addresses of the node's network
	serviceRange   = "10.96.0.0/16"
	kubernetesIP   = "10.96.0.1" // the first of the range is the Service "kubernetes"
	podRange       = "10.244.0.0/16"
	apiServer      = "https://" + nodeAddress + ":6443"
	etcdClients    = "http://127.0.0.1:2379"
	etcdPeers      = "http://127.0.0.1:2380"
	serviceAccount = "https://kubernetes.default.svc"
)

// systemPath is the same whoever starts the cluster: a cluster of another specification is not used again.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// parts are the folders with the programs.
type parts struct {
	kubernetes string
	coredns    string
	metallb    string
	supervisor string // programs, not folders
	pause      string
	path       string // list of folders with etcd, containerd, runc
	cni        string
}

func (c *Cluster) spec(p parts) node.Spec {
	bind := func(from, to string) node.Bind { return node.Bind{From: from, To: to} }
	return node.Spec{
		Name:    c.Name,
		Socket:  c.files.control(),
		Logs:    c.files.logs(),
		Address: nodeAddress + nodePrefix,
		// The folders that the components' sources name, so that no configuration has to.
		Binds: []node.Bind{
			bind(filepath.Join(c.files.run, "containerd"), "/run/containerd"),
			bind(filepath.Join(c.files.run, "netns"), "/run/netns"),
			bind(filepath.Join(c.files.state, "containerd"), "/var/lib/containerd"),
			bind(filepath.Join(c.files.state, "kubelet"), "/var/lib/kubelet"),
			bind(filepath.Join(c.files.state, "cni"), "/var/lib/cni"),
			bind(filepath.Join(c.files.logs(), "pods"), "/var/log/pods"),
			bind(filepath.Join(c.files.logs(), "containers"), "/var/log/containers"),
		},
		Configuration: embeddedHash(),
		Components:    c.components(p),
	}
}

func (c *Cluster) components(p parts) []node.Component {
	environment := []string{"PATH=" + p.path + ":" + systemPath, "HOME=/"}
	component := func(name, program string, args ...string) node.Component {
		return node.Component{Name: name, Args: append([]string{program}, args...), Env: environment}
	}
	kubernetes := func(name string, args ...string) node.Component {
		return component(name, filepath.Join(p.kubernetes, name), args...)
	}
	pki := func(name string) string { return filepath.Join(c.files.pki(), name) }
	config := func(name string) string { return filepath.Join(c.files.config(), name) }
	return []node.Component{
		component(Etcd, "etcd",
			"--data-dir="+filepath.Join(c.files.state, "etcd"),
			"--listen-client-urls="+etcdClients, "--advertise-client-urls="+etcdClients, "--listen-peer-urls="+etcdPeers,
			"--unsafe-no-fsync", // what is lost with the machine is only a test
			"--quota-backend-bytes=4294967296"),
		component(Containerd, "containerd", "--config="+config("containerd.toml")),
		kubernetes(APIServer,
			"--etcd-servers="+etcdClients, "--service-cluster-ip-range="+serviceRange,
			"--advertise-address="+nodeAddress, "--secure-port=6443",
			"--client-ca-file="+pki("ca.crt"), "--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"),
			"--kubelet-client-certificate="+pki("admin.crt"), "--kubelet-client-key="+pki("admin.key"),
			"--kubelet-preferred-address-types=InternalIP", // the node's name is in no DNS
			"--service-account-issuer="+serviceAccount,
			"--service-account-key-file="+pki("serviceaccounts.crt"), "--service-account-signing-key-file="+pki("serviceaccounts.key"),
			"--authorization-mode=Node,RBAC", "--allow-privileged=true",
			"--feature-gates=ClusterTrustBundle=true,ClusterTrustBundleProjection=true",
			"--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true"),
		kubernetes(ControllerManager,
			"--kubeconfig="+pki(ControllerManager+".conf"), "--use-service-account-credentials=true", "--leader-elect=false",
			"--authentication-skip-lookup",
			"--service-account-private-key-file="+pki("serviceaccounts.key"), "--root-ca-file="+pki("ca.crt"),
			"--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
			"--allocate-node-cidrs=true", "--cluster-cidr="+podRange),
		kubernetes(Scheduler, "--kubeconfig="+pki(Scheduler+".conf"), "--leader-elect=false", "--authentication-skip-lookup"),
		kubernetes(Kubelet,
			"--config="+config("kubelet.yaml"), "--kubeconfig="+pki(Kubelet+".conf"),
			"--hostname-override="+NodeName, "--node-ip="+nodeAddress),
		kubernetes(KubeProxy, "--config="+config("kube-proxy.yaml")),
	}
}
