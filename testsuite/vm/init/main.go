//go:build linux

// Command init is the first process of the tests' virtual machine: it loads the kernel's modules, mounts the disk
// where there is one, runs a command with the arguments that stand behind "--" on the kernel's command line, says
// its exit status on the console and ends the machine.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Println("init:", err)
		status = 125
	}
	fmt.Printf("\nEXIT STATUS %d\n", status)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil { // qemu runs with -no-reboot
		fmt.Println("init: reboot:", err)
	}
}

func run(args []string) (status int, err error) {
	for _, m := range []struct{ dir, kind string }{{"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev", "devtmpfs"},
		{"/tmp", "tmpfs"}} {
		if err := mount(m.dir, m.kind, m.kind); err != nil {
			return 0, err
		}
	}
	if err := modules(); err != nil {
		return 0, err
	}
	if err := mount("/sys/kernel/config", "configfs", "configfs"); err != nil {
		return 0, err
	}
	if _, err := os.Stat("/dev/vda"); err == nil {
		if err := mount("/disk", "/dev/vda", "ext4"); err != nil {
			return 0, err
		}
	}
	if err := loopback(); err != nil {
		return 0, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	// what stood as NAME=VALUE on the kernel's command line is there too
	cmd.Env = append(os.Environ(), "PATH=/", "TMPDIR=/tmp")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

func modules() error {
	list, err := os.ReadFile("/modules")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		f, err := os.Open("/" + name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

func mount(dir, device, kind string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(device, dir, kind, unix.MS_NOATIME, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// loopback switches the network interface lo on.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return nil
}
