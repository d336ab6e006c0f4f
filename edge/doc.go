// Package edge runs beside the fan: from the tacho's edges to a reading a second (Tach), into a spool that
// outlives kills, power cuts and full disks (Spool), and from there to the broker until it has
// acknowledged (Run). The edges come from a GPIO line (GPIO) or from a simulated fan (Sim); everything
// behind them is the same code. Several fans of one machine are several Nodes of one process.
//
// # Measuring
//
// RPM = 60 n / (p (t_last - t_prev)), with n pulses between the last edge of the window before and the
// last edge of this one, p pulses per revolution, and the kernel's time stamps. When every edge is within
// d of its ideal place (interrupt latency, uneven poles), a window of T at f pulses per second errs by at
// most 2d/(T - 1/f) relative. Largest error in 300 windows of 1 s, in RPM, with p = 2 and d = 20 us (go
// test -run EstimatorTable -v):
//
//	  RPM  this package  counting pulses  60/(p dt) of the last period
//	  103         0.005             17.0                          0.01
//	  611         0.022             19.0                          0.46
//	 1807         0.068             23.0                          4.06
//	 6007         0.234             23.0                         46.94
//	19993         0.716             17.0                        518.47
//
// A line that has been silent for 60/(p MinRPM) seconds is a stall; before that the speed falls as
// 1/(now - t_last). An edge that comes after less than half the running period (the median of the last
// eight) is a glitch: not counted as a pulse, but counted as a glitch. Four regular short intervals in a
// row are no glitches but a faster fan. Edges that the kernel dropped show as gaps in its line sequence
// number; they count as pulses and are reported.
//
// The bound is tested as it stands from 100 to 20,000 RPM, for 1, 2 and 4 pulses per revolution, with edges
// 20 us off and poles 2 % of a period off (d is then both together); for whole revolutions between the two
// edges the poles cancel.
//
// A reading (fanwatch.Reading) carries: who and which (fan, run, seq); the window's end by the wall clock and
// whether that can be believed; RPM, pulses per second, and the jitter of the periods (standard deviation
// over mean); the edges, glitches and dropped edges of the window; the rotor's state (running, starting,
// stalled, no-signal); and the PWM duty cycle that the fan is told, where that can be read (PWM), so that
// a commanded change of speed can be told from a fault.
//
// # Settings from a shadow
//
// Interval, batching, thresholds and live mode (Settings) can be changed while a Node runs, by the desired
// state of its thing's named shadow:
//
//	aws iot-data update-thing-shadow --thing-name fan-21 --shadow-name fanwatch --cli-binary-format raw-in-base64-out \
//	    --payload '{"state":{"desired":{"live":true,"min_rpm":300}}}' out.json
//	aws iot-data get-thing-shadow --thing-name fan-21 --shadow-name fanwatch out.json
//
// (with --endpoint-url for the local AWS). The device reports all settings that hold, v (SettingsVersion), revision
// (the document's version that brought them) and, when it refuses some of a desired state, error with the reasons;
// those keep the value that held before, and the others hold. An unknown field is refused by name. What holds is kept
// beside the spool: a machine that starts without a network starts with it, and the desired state wins at the next
// connect. What is taken out of the desired state, or goes with the shadow, is as the Config has it. A change takes
// effect within a second. An interval or flush_every over half of the fan's silence (Config.Silence, 30 s) is refused:
// people would be told that the fan is silent.
//
// # Two publishers of one fan
//
// A broker has one connection for each client ID: a second publisher with a copied certificate takes it from the
// first. Each then waits longer and longer, up to five minutes, so that both empty their spools in turn, and says in
// its log and its status that another publisher is connected as this fan (TestTwoPublishersShareOneNameForADay).
//
// The shadow shares the fan's connection. AWS IoT hangs up on a client whose policy does not allow it its
// shadow; after three connections that end so, the Node goes without for half an hour, because readings
// come first.
//
// One connection per fan: AWS IoT takes one connection for each client ID, resolves ${iot:Connection.Thing.ThingName}
// by it, and the scorers believe a reading only from the client that owns the fan. So every fan has its own
// certificate, spool and run, also where several hang on one machine.
//
// # What is promised
//
// Each by a test, which is named.
//
//   - A reading that Spool.Append has returned from is not lost by kill -9 (TestKillLosesNoCompletedReading).
//   - A power cut loses at most what came since the last Sync: 10 s, or nothing after a change of state. What is
//     torn or
//     zeroed is cut and counted in SpoolStats.Torn, holes in Batch.Dropped (TestPowerCutLosesOnlyWhatWasNotSynced,
//     TestAChangeOfStateIsSyncedAtOnce; on a real kernel's ext4 TestPowerCut in testsuite/vm).
//   - A full or read-only disk costs nothing while the process lives and 4 MiB of memory last; it is logged and
//     counted,
//     and when the disk works again the readings go to it (TestFullDiskForReal, TestReadOnlyDiskForReal).
//   - When the spool is at its cap the oldest readings go, counted (TestSpoolDropsTheOldestAtItsCap).
//   - Readings of one run arrive in order and without holes but for those counted in Batch.Dropped; runs arrive one
//     after
//     the other. Only where an acknowledgement was lost do readings arrive again: (fan, run, seq) tells. (TestTorture
//     in testsuite/torture: kill -9 of publisher and broker, mosquitto and the local IoT Core.)
//   - Messages go out with QoS 1, in batches of 10, at most 80 a second; at once on a change of state or a jump of
//     the speed
//     (TestDrainKeepsToItsRate, TestRunPublishesASimulatedFan). TLS is 1.2 or later with SNI, and with ALPN on port 443
//     (TestPort443SpeaksALPN). Lost connections are tried again after 1 to 60 s, with jitter
//     (TestBackOffGrowsWithJitter).
//   - A reading has a time since boot, a run and a number whatever the wall clock says. One whose wall clock was not
//     synchronised is flagged and carries its age, or gets its time when the clock is right by the time it is
//     published.
//     TLS works with a clock in 1970 (TestClockOf1970ConnectsAndIsDatedByAge,
//     TestReadingsOfAWrongClockAreDatedOnceItIsRight, TestReferenceIsWhenTheProgramWasMade).
//   - Some 0.05 GB a day are written to an SD card at 1 Hz, ext4's journal and all; 0.04 % of a core and 9 MB of
//     memory are
//     used on amd64 (go tool task bench:edge: edge.bytes_per_day, edge.cpu, edge.rss).
//   - The kernel keeps 1024 edges for a process that is too busy to take them; what it drops beyond that is
//     counted (TestKernelDropsAreSeenByLineSequence, by go tool task test:gpio).
//   - Nothing here writes to standard output or keeps global state; any number of nodes run in one process.
package edge
