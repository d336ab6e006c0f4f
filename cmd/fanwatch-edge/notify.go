package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"fanwatch/edge"
)

// manager is systemd, or whatever else speaks sd_notify(3), as the environment gives it; the zero value is none.
type manager struct {
	socket   string
	watchdog time.Duration // how long it waits for a sign of life; 0 = for ever
}

// serviceManager finds the manager that started this process.
func serviceManager(getenv func(string) string) (manager, error) {
	m := manager{socket: getenv("NOTIFY_SOCKET")}
	text := getenv("WATCHDOG_USEC")
	if pid := getenv("WATCHDOG_PID"); m.socket == "" || text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 {
		return m, fmt.Errorf("WATCHDOG_USEC %q is no number of microseconds", text)
	}
	m.watchdog = time.Duration(usec) * time.Microsecond
	return m, nil
}

// tell sends lines such as READY=1.
func (m manager) tell(state string) error {
	if m.socket == "" {
		return nil
	}
	// a leading @ is an abstract name
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

// supervise runs the nodes and tells the manager that they are ready, how they stand, and that they live: as long as
// each makes readings, at least one in three intervals. Whether the broker can be reached is no matter of life.
func (m manager) supervise(ctx context.Context, nodes []*edge.Node) error {
	pulses := make([]pulse, len(nodes))
	if err := m.tell("READY=1\nSTATUS=" + statuses(nodes)); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		done <- together(ctx, len(nodes), func(ctx context.Context, i int) error { return nodes[i].Run(ctx) })
	}()
	every := 10 * time.Second
	if m.watchdog > 0 {
		every = min(every, m.watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range pulses {
		pulses[i].at = time.Now()
	}
	ending := ctx.Done()
	for {
		select {
		case err := <-done:
			return err
		case <-ending:
			ending = nil
			_ = m.tell("STOPPING=1") // what it does not hear it sees
		case now := <-tick.C:
			state, live := "STATUS="+statuses(nodes), true
			for i, n := range nodes {
				live = pulses[i].beats(n.Status(), now, every) && live
			}
			if live {
				state = "WATCHDOG=1\n" + state
			}
			_ = m.tell(state) // the next one is due soon; if none goes through, the manager restarts this process
		}
	}
}

// pulse is how many readings a node had made when they were last seen to have become more.
type pulse struct {
	made uint64
	at   time.Time
}

// beats reports whether readings have become more within three intervals and the time since the last look.
func (p *pulse) beats(st edge.Status, now time.Time, every time.Duration) bool {
	if all := st.Acked + st.Dropped + uint64(st.Spooled); all != p.made {
		p.made, p.at = all, now
	}
	return now.Sub(p.at) < every+3*st.Interval
}

// statuses is one line for systemctl status.
func statuses(nodes []*edge.Node) string {
	lines := make([]string, len(nodes))
	for i, n := range nodes {
		lines[i] = status(n.Status())
	}
	return strings.Join(lines, " | ")
}

// status says how one node stands.
func status(st edge.Status) string {
	text := fmt.Sprintf("%s: %d readings acknowledged, %d in the spool", st.Fan, st.Acked, st.Spooled)
	if st.Dropped > 0 {
		text += fmt.Sprintf(", %d dropped", st.Dropped)
	}
	switch {
	case st.Connected:
		text += ", connected"
	case st.LastError != "":
		text += ", not connected: " + st.LastError
	default:
		text += ", not connected yet"
	}
	if st.Disk != "" {
		text += "; " + st.Disk
	}
	return text
}
