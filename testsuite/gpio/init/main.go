//go:build linux

// Command init is the first and only process of the GPIO test's virtual machine: it loads the kernel's GPIO
// simulator, runs the tests of package edge that need it, says their exit status on the console and ends the machine.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func main() {
	status, err := run()
	if err != nil {
		fmt.Println("init:", err)
		status = 125
	}
	fmt.Printf("\nGPIO TESTS EXIT STATUS %d\n", status)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil { // qemu runs with -no-reboot
		fmt.Println("init: reboot:", err)
	}
}

func run() (status int, err error) {
	for _, m := range []struct{ dir, kind string }{{"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev", "devtmpfs"}, {"/tmp", "tmpfs"}} {
		if err := mount(m.dir, m.kind); err != nil {
			return 0, err
		}
	}
	for _, name := range []string{"configfs.ko", "irq_sim.ko", "gpio-sim.ko"} {
		f, err := os.Open("/" + name)
		if err != nil {
			return 0, err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return 0, fmt.Errorf("load %s: %w", name, err)
		}
	}
	if err := mount("/sys/kernel/config", "configfs"); err != nil {
		return 0, err
	}
	test := exec.Command("/edge.test", "-test.v", "-test.run", "^TestKernel", "-test.timeout", "4m")
	test.Env = []string{"FANWATCH_GPIO_SIM=1", "PATH=/", "TMPDIR=/tmp"}
	test.Stdout, test.Stderr = os.Stdout, os.Stdout
	err = test.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return test.ProcessState.ExitCode(), nil
}

func mount(dir, kind string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, dir, kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}
