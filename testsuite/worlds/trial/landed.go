package trial

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"fanwatch"
)

// landedCommit is the state of the project whose judge stands beside the present one: the last before families.
const landedCommit = "25a027b"

//go:embed landed/main.go
var landedMain []byte

// buildLanded builds the judge of landedCommit from the checkout's history and returns the program. The error says
// why there is none.
func buildLanded(dir string) (string, error) {
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("no git checkout: %w", err)
	}
	tree := filepath.Join(dir, "landed")
	here := filepath.Join(tree, "testsuite/worlds/trial/landed")
	if err := os.MkdirAll(here, 0o755); err != nil {
		return "", err
	}
	archive := exec.Command("git", "archive", landedCommit)
	archive.Dir = strings.TrimSpace(string(root))
	untar := exec.Command("tar", "-x", "-C", tree)
	pipe, err := archive.StdoutPipe()
	if err != nil {
		return "", err
	}
	untar.Stdin = pipe
	if err := archive.Start(); err != nil {
		return "", err
	}
	if err := untar.Run(); err != nil {
		return "", fmt.Errorf("tar: %w", err)
	}
	if err := archive.Wait(); err != nil {
		return "", fmt.Errorf("commit %s is not in the history: %w", landedCommit, err)
	}
	if err := os.WriteFile(filepath.Join(here, "main.go"), landedMain, 0o644); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "landed.exe")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./testsuite/worlds/trial/landed")
	build.Dir = tree
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build of commit %s: %w: %.300s", landedCommit, err, out)
	}
	return program, nil
}

// landed is a process of the landed judge, for one world after another.
type landed struct {
	cmd *exec.Cmd
	in  *bufio.Writer
	end io.Closer
	out *bufio.Reader
}

func startLanded(program string) (*landed, error) {
	cmd := exec.Command(program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l := &landed{cmd: cmd, in: bufio.NewWriterSize(in, 1<<16), end: in, out: bufio.NewReaderSize(out, 1<<16)}
	return l, cmd.Start()
}

// Close ends the process.
func (l *landed) Close() error {
	if err := l.end.Close(); err != nil {
		return err
	}
	return l.cmd.Wait()
}

// judge returns the process as the judge of the next world.
func (l *landed) judge(devices []fanwatch.Device) (Judge, error) {
	for _, d := range devices {
		record, err := fanwatch.EncodeDevice(d)
		if err == nil {
			err = l.send(record)
		}
		if err != nil {
			return nil, err
		}
	}
	return &landedFans{newBatches(devices), l}, nil
}

func (l *landed) send(record []byte) error {
	if err := binary.Write(l.in, binary.BigEndian, uint32(len(record))); err != nil {
		return err
	}
	_, err := l.in.Write(record)
	return err
}

type landedFans struct {
	batches
	process *landed
}

func (f *landedFans) Feed(r *fanwatch.Reading) error {
	record, err := f.add(r)
	if err != nil || record == nil {
		return err
	}
	return f.process.send(record)
}

// Changes returns the changes of the one state that the landed judge has. It knew no severity: every alert paged.
func (f *landedFans) Changes() ([]Change, error) {
	err := f.rest(f.process.send)
	if err == nil {
		err = f.process.send(nil)
	}
	if err == nil {
		err = f.process.in.Flush()
	}
	if err != nil {
		return nil, err
	}
	var all []Change
	for {
		line, err := f.process.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the landed judge has ended: %w", err)
		}
		if len(line) == 1 {
			return all, nil
		}
		var o fanwatch.Observation
		if err := json.Unmarshal(line, &o); err != nil {
			return nil, err
		}
		c := Change{Fan: o.Fan, Time: o.Time, Kind: o.Anomaly.Kind, Severity: fanwatch.SeverityWarning, Why: o.Anomaly.Why}
		if w := c.Kind.Severity(); w == fanwatch.SeverityCritical {
			c.Severity = w
		}
		all = append(all, c)
	}
}
