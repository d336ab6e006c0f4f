package vm

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEdgeOnTheKernelsGPIO runs edge's TestKernel... tests in the machine and reads their verdicts from its console.
func TestEdgeOnTheKernelsGPIO(t *testing.T) {
	m := newMachine(t, "-test.v", "-test.run", "^TestKernel", "-test.timeout", "4m")
	m.env = []string{"FANWATCH_GPIO_SIM=1"}
	var console []string
	m.run(5*time.Minute, func(line string) bool { console = append(console, line); return true })
	t.Log("\n" + strings.Join(console, "\n"))
	source, err := os.ReadFile(filepath.Join("..", "..", "edge", "gpio_kernel_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := regexp.MustCompile(`(?m)^func (TestKernel\w+)\(`).FindAllStringSubmatch(string(source), -1)
	if len(tests) == 0 {
		t.Fatal("edge has no TestKernel... tests")
	}
	for _, test := range tests {
		if !slices.ContainsFunc(console, func(line string) bool {
			return strings.HasPrefix(line, "--- PASS: "+test[1]+
				" ")
		}) {
			t.Errorf("%s did not pass in the machine", test[1])
		}
	}
	if !slices.Contains(console, "EXIT STATUS 0") {
		t.Error("the tests in the machine did not end well")
	}
}
