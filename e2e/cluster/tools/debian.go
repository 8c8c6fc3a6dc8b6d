package tools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// unpacked are the packages whose programs a cluster runs. They are not installed: nothing of the machine
// changes, and no service of theirs starts.
var unpacked = []string{"etcd-server", "containerd", "runc", "containernetworking-plugins"}

// installed are programs with libraries of their own, and the packages that have them.
var installed = map[string]string{"ip": "iproute2", "nft": "nftables", "mount": "mount"}

// Node says where a node's parts that are no Go modules are.
type Node struct {
	// Path is a list of folders with etcd, containerd, its shim, ctr and runc.
	Path string
	// CNI is the folder with the CNI plugins.
	CNI string
}

// Node finds etcd, containerd, runc and the CNI plugins, and sees to it that ip and nft are there.
func (c Cache) Node(ctx context.Context) (Node, error) {
	release, err := osRelease()
	if err != nil {
		return Node{}, err
	}
	_, missing := exec.LookPath("apt-get")
	if missing != nil {
		return fromMachine()
	}
	if err := c.installMissing(ctx); err != nil {
		return Node{}, err
	}
	name := fmt.Sprintf("%s-%s-%s", release["ID"], release["VERSION_ID"], shortHash([]byte(strings.Join(unpacked, " "))))
	root, err := c.install(ctx, name, func(into string) error { return unpack(ctx, into) })
	if err != nil {
		return Node{}, err
	}
	return Node{
		Path: filepath.Join(root, "usr/bin") + ":" + filepath.Join(root, "usr/sbin"),
		CNI:  filepath.Join(root, "usr/lib/cni"),
	}, nil
}

// fromMachine uses what somebody installed on a machine that has no apt-get.
func fromMachine() (Node, error) {
	var missing []string
	for _, program := range []string{"etcd", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "nft", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	for _, dir := range []string{"/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin"} {
		if exists(filepath.Join(dir, "ptp")) && len(missing) == 0 {
			return Node{Path: os.Getenv("PATH"), CNI: dir}, nil
		}
	}
	return Node{}, fmt.Errorf("this is no Debian (no apt-get), so these have to be installed by hand: %s and the CNI plugins "+
		"(in /usr/lib/cni, /usr/libexec/cni or /opt/cni/bin)", strings.Join(missing, ", "))
}

// installMissing is the one thing that changes the machine outside the cache.
func (c Cache) installMissing(ctx context.Context) error {
	var packages []string
	for _, program := range slices.Sorted(maps.Keys(installed)) {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, installed[program])
		}
	}
	if len(packages) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages are missing; run: apt-get install %s", strings.Join(packages, " "))
	}
	fmt.Fprintf(c.Log, "installing packages: %s\n", strings.Join(packages, " "))
	return withLists(ctx, func() error {
		return apt(ctx, "", append([]string{"install", "--yes", "--no-install-recommends"}, packages...)...)
	})
}

func unpack(ctx context.Context, into string) error {
	archives, err := os.MkdirTemp("", "packages")
	if err != nil {
		return err
	}
	defer os.RemoveAll(archives)
	err = withLists(ctx, func() error { return apt(ctx, archives, append([]string{"download"}, unpacked...)...) })
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	for _, archive := range found {
		if _, err := output(exec.CommandContext(ctx, "dpkg-deb", "--extract", archive, into)); err != nil {
			return err
		}
	}
	return nil
}

// withLists tries first with the package lists as they are: fetching them takes longer than all the rest.
func withLists(ctx context.Context, action func() error) error {
	first := action()
	if first == nil {
		return nil
	}
	if err := apt(ctx, "", "update"); err != nil {
		return errors.Join(first, err)
	}
	return action()
}

func apt(ctx context.Context, dir string, args ...string) error {
	// The downloads go to a folder of the caller's, which apt's own user cannot write to.
	options := []string{"--quiet", "--option", "APT::Sandbox::User=root", "--option", "DPkg::Lock::Timeout=120"}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	_, err := output(cmd)
	return err
}

func osRelease() (map[string]string, error) {
	file, err := os.Open("/etc/os-release")
	if err != nil {
		return nil, fmt.Errorf("which system is this? %w", err)
	}
	defer file.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), "="); found {
			values[name] = strings.Trim(value, `"`)
		}
	}
	return values, lines.Err()
}
