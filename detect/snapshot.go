package detect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"fanwatch"
)

// SnapshotVersion is the version of the snapshot that this program writes where a fan has a [fanwatch.Pause]; without
// one it writes version 4, which is the same and which earlier programs read. It also reads versions 1 to 3, which have
// no judge: from them identities, publishers, arrivals and the usual speed at each duty are carried over, and a fan's
// forest and all else is learned anew.
const SnapshotVersion = 5

// header is the first part of a snapshot, as JSON. Go writes a float64 with as many digits as bring back the same bits.
type header struct {
	V    int         `json:"v"`
	Fans []fanHeader `json:"fans"`

	Sites map[string]*site `json:"sites,omitempty"`
	Quota quota            `json:"quota,omitzero"`
}

type fanHeader struct {
	Device fanwatch.Device      `json:"device"`
	Last   fanwatch.Observation `json:"last"`
	Seen   seen                 `json:"seen"`
	State  json.RawMessage      `json:"state"`           // a state, or before version 4 an oldState
	Judge  []byte               `json:"judge,omitempty"` // of package judge
	Judged fanwatch.Judged      `json:"judged,omitzero"` // of the newest scored reading
	Forest int                  `json:"forest"`          // bytes of the forest's own snapshot
	Kept   *keptHeader          `json:"kept,omitempty"`  // in a pause
}

// Snapshot returns the models as bytes for [Restore]: four bytes of header length (little-endian), the header, the
// forests' snapshots in the header's order. It has no checksum; the landing log adds one.
func (m *Models) Snapshot() ([]byte, error) {
	h := header{V: 4, Sites: m.sites, Quota: m.quota}
	var forests bytes.Buffer
	for _, name := range m.Fans() {
		f := m.fans[name]
		blob, err := f.forest.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("snapshot of fan %s: %w", name, err)
		}
		forests.Write(blob)
		fh := fanHeader{Device: f.device, Last: f.last, Seen: f.seen, Judged: f.judged, Forest: len(blob)}
		if fh.State, err = json.Marshal(f.st); err == nil {
			fh.Judge, err = f.judge.MarshalBinary()
		}
		if err == nil {
			fh.Kept, err = f.kept.header()
		}
		if len(f.st.Pauses) > 0 || f.kept != nil {
			h.V = SnapshotVersion
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot of fan %s: %w", name, err)
		}
		h.Fans = append(h.Fans, fh)
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(head)+forests.Len()), uint32(len(head)))
	return append(append(out, head...), forests.Bytes()...), nil
}

// ErrSnapshot says that bytes are not a snapshot of a version that this program reads.
var ErrSnapshot = errors.New("not a snapshot of models")

// Restore returns the Models of a snapshot. Any bytes that are none give an error that wraps [ErrSnapshot] or is one of
// package rcf.
func Restore(cfg Config, data []byte) (*Models, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", ErrSnapshot, len(data))
	}
	n := binary.LittleEndian.Uint32(data)
	if data = data[4:]; uint64(n) > uint64(len(data)) {
		return nil, fmt.Errorf("%w: its header is cut off", ErrSnapshot)
	}
	var h header
	if err := json.Unmarshal(data[:n], &h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if h.V < 1 || h.V > SnapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows 1 to %d", ErrSnapshot, h.V, SnapshotVersion)
	}
	data = data[n:]
	m := New(cfg)
	cfg = m.cfg
	m.quota = h.Quota
	for name, s := range h.Sites {
		if s != nil {
			m.sites[name] = s
		}
	}
	for _, fh := range h.Fans {
		if fh.Forest < 0 || fh.Forest > len(data) {
			return nil, fmt.Errorf("%w: the forest of fan %.100q is cut off", ErrSnapshot, fh.Device.Fan)
		}
		f, err := fh.restore(cfg, data[:fh.Forest], h.V)
		if err != nil {
			return nil, err
		}
		m.fans[fh.Device.Fan] = f
		data = data[fh.Forest:]
	}
	if len(data) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrSnapshot, len(data))
	}
	return m, nil
}

func (fh fanHeader) restore(cfg Config, blob []byte, version int) (*fan, error) {
	if err := fh.Device.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if err := fh.Seen.check(); err != nil {
		return nil, fmt.Errorf("%w: fan %s: %w", ErrSnapshot, fh.Device.Fan, err)
	}
	f := newFan(fh.Device, cfg)
	f.last, f.seen, f.judged = fh.Last, fh.Seen, fh.Judged
	if version < 4 {
		return f, f.upgrade(fh.State, version)
	}
	if err := json.Unmarshal(fh.State, &f.st); err != nil {
		return nil, fmt.Errorf("%w: fan %s: %w", ErrSnapshot, fh.Device.Fan, err)
	}
	if s := &f.st; min(s.Forest.N, s.Forest.Learned, s.Forest.Odd, s.Repeats.Streak, s.Repeats.Pairs, s.Repeats.Same) < 0 {
		return nil, fmt.Errorf("%w: fan %s: negative counts", ErrSnapshot, fh.Device.Fan)
	}
	if err := f.judge.UnmarshalBinary(fh.Judge); err != nil {
		return nil, fmt.Errorf("%w: fan %s: %w", ErrSnapshot, fh.Device.Fan, err)
	}
	if err := f.forest.UnmarshalBinary(blob); err != nil {
		return nil, fmt.Errorf("snapshot of fan %s: %w", fh.Device.Fan, err)
	}
	if f.forest.Config().Dimensions != coordinates {
		return nil, fmt.Errorf("%w: fan %s: a forest over %d coordinates", ErrSnapshot, fh.Device.Fan,
			f.forest.Config().Dimensions)
	}
	var err error
	f.kept, err = fh.Kept.restore(fh.Device)
	return f, err
}

// oldState is what is carried over of the state in a snapshot before version 4.
type oldState struct {
	Repeats    repeats          `json:"repeats"`
	Current    fanwatch.Anomaly `json:"current"`
	LastTime   int64            `json:"last_time"`
	OlderClock olderClock       `json:"line"`
	Speakers   speakers         `json:"speakers"`
	Arrivals   Arrivals         `json:"heard"`
	Duty       fanwatch.Duty    `json:"duty"`
	Stats      []running        `json:"stats"`  // the first is of the speed at Duty
	Usuals     map[int]running  `json:"usuals"` // usual speeds at earlier duties, by oldBin
	Bases      map[int]struct { // by oldBin
		Level float64 `json:"level"` // RPM
	} `json:"bases"`
}

const (
	oldBin   = 50 // hundredths of a percent: width of the bins of duty in snapshots before version 4
	oldKnown = 30 // readings after which a usual speed in them holds
)

// upgrade takes over the state of a snapshot before version 4. The usual speeds of the older program are expected from
// the next reading on, so that half of them is underspeed from then on.
func (f *fan) upgrade(data json.RawMessage, version int) error {
	var old oldState
	if err := json.Unmarshal(data, &old); err != nil {
		return fmt.Errorf("%w: fan %s: %w", ErrSnapshot, f.device.Fan, err)
	}
	if min(old.Repeats.Streak, old.Repeats.Pairs, old.Repeats.Same) < 0 {
		return fmt.Errorf("%w: fan %s: negative counts", ErrSnapshot, f.device.Fan)
	}
	s := &f.st
	s.Repeats, s.LastTime, s.OlderClock = old.Repeats, old.LastTime, old.OlderClock
	s.Speakers, s.Arrivals = old.Speakers, old.Arrivals
	if version < 3 {
		s.Arrivals.Newest = f.last.Position
	}
	for i, family := range families {
		if old.Current.Kind.Family() == family {
			s.Families[i].Current = old.Current
		}
	}
	speeds := map[fanwatch.Duty]float64{}
	for bin, usual := range old.Usuals {
		if usual.N >= oldKnown {
			speeds[fanwatch.Duty(bin*oldBin)] = usual.Mean
		}
	}
	if len(old.Stats) > 0 && old.Stats[0].N >= oldKnown {
		speeds[old.Duty] = old.Stats[0].Mean
	}
	for bin, base := range old.Bases {
		if duty := fanwatch.Duty(bin * oldBin); base.Level > 0 {
			if old.Duty/oldBin == duty/oldBin {
				duty = old.Duty
			}
			speeds[duty] = base.Level
		}
	}
	for _, duty := range slices.Sorted(maps.Keys(speeds)) {
		f.judge.Expect(duty, speeds[duty])
	}
	return nil
}

// check returns an error when a decoded seen breaks an invariant of its methods.
func (s *seen) check() error {
	for _, r := range s.Runs {
		if len(r.Have) == 0 {
			return errors.New("a run without readings")
		}
		for i, iv := range r.Have {
			if iv[0] > iv[1] || (i > 0 && iv[0] <= r.Have[i-1][1]+1) {
				return errors.New("intervals out of order")
			}
		}
	}
	for i := 1; i < len(s.Times); i++ {
		if s.Times[i] <= s.Times[i-1] {
			return errors.New("times out of order")
		}
	}
	return nil
}
