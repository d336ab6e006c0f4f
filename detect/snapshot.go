package detect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"fanwatch"
	"fanwatch/rcf"
)

// SnapshotVersion is the version of the snapshot that this program writes. It also reads version 1, which has no duty
// cycles, and version 2, which has no baselines and no arrivals.
const SnapshotVersion = 3

// header is the first part of a snapshot, as JSON. Go writes a float64 with as many digits as bring back the same bits.
type header struct {
	V    int         `json:"v"`
	Fans []fanHeader `json:"fans"`

	Quota quota `json:"quota,omitzero"`
}

type fanHeader struct {
	Device fanwatch.Device      `json:"device"`
	Last   fanwatch.Observation `json:"last"`
	Seen   seen                 `json:"seen"`
	State  state                `json:"state"`
	Forest int                  `json:"forest"` // bytes of the forest's own snapshot
}

// Snapshot returns the models as bytes for [Restore]: four bytes of header length (little-endian), the header, the
// forests' snapshots in the header's order. It has no checksum; the landing log adds one.
func (m *Models) Snapshot() ([]byte, error) {
	h := header{V: SnapshotVersion, Quota: m.quota}
	var forests bytes.Buffer
	for _, name := range m.Fans() {
		f := m.fans[name]
		blob, err := f.forest.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("snapshot of fan %s: %w", name, err)
		}
		forests.Write(blob)
		h.Fans = append(h.Fans, fanHeader{f.device, f.last, f.seen, f.st, len(blob)})
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
	m.quota = h.Quota
	for _, fh := range h.Fans {
		if fh.Forest < 0 || fh.Forest > len(data) {
			return nil, fmt.Errorf("%w: the forest of fan %.100q is cut off", ErrSnapshot, fh.Device.Fan)
		}
		f, err := fh.restore(data[:fh.Forest], h.V)
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

func (fh fanHeader) restore(blob []byte, version int) (*fan, error) {
	if err := fh.Device.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if err := fh.Seen.check(); err != nil {
		return nil, fmt.Errorf("%w: fan %s: %w", ErrSnapshot, fh.Device.Fan, err)
	}
	if s := fh.State; min(s.N, s.Learned, s.Settling, s.Repeats.Streak, s.Repeats.Pairs, s.Repeats.Same) < 0 {
		return nil, fmt.Errorf("%w: fan %s: negative counts", ErrSnapshot, fh.Device.Fan)
	}
	forest := new(rcf.Forest)
	if err := forest.UnmarshalBinary(blob); err != nil {
		return nil, fmt.Errorf("snapshot of fan %s: %w", fh.Device.Fan, err)
	}
	f := &fan{forest: forest, last: fh.Last, seen: fh.Seen, st: fh.State}
	f.setDevice(fh.Device)
	if version < 3 {
		f.st.upgrade(fh.Last)
	}
	return f, nil
}

// upgrade completes the state of a snapshot before version 3: the baselines begin at the usual speeds.
func (s *state) upgrade(last fanwatch.Observation) {
	s.Arrivals.Newest = last.Position
	if usual := s.Stats[featureRPM]; usual.N >= startOver && usual.Mean > 0 {
		s.setBase(baseline{Level: usual.Mean})
	}
	for duty, usual := range s.Usuals {
		if s.Bases[duty].Level == 0 && usual.N >= startOver && usual.Mean > 0 {
			if s.Bases == nil {
				s.Bases = make(map[fanwatch.Duty]baseline)
			}
			s.Bases[duty] = baseline{Level: usual.Mean}
		}
	}
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
