package rcf

import (
	"math"
	"math/bits"
)

// A reservoir decides which points of the stream a tree holds: a weighted random sample without replacement in
// one pass (Efraimidis and Spirakis, 2006). A point that arrives at time t draws the key E / exp(decay*t), with E
// exponential of mean 1; the sample is the points with the smallest keys, so that a point's weight is
// exp(decay*t) and old points fade. AWS's CompactSampler keeps the logarithms of the same keys.
//
// Once the reservoir is full, it does not draw a key for every point: it draws when the next point will be
// accepted and, at that point, the key on condition of acceptance. That is the same distribution ("exponential
// jumps" in the paper; here exact under decay, since the acceptance rates form a geometric series).
//
// Keys are relative to an epoch that the forest moves on, so that float32 suffices however long the stream.
//
// A sample has a place, a number below len(key), that it keeps as long as it is held. There is always one place more
// than samples, so that a sample can be put in before another is taken out.
type reservoir struct {
	key       []sampleKey // per place; 0 where there is no sample
	next      uint64      // time of the next acceptance, while the reservoir is full
	random    splitMix
	n         uint16            // samples held; their places are the first n+1 but spare
	spare     uint16            // the place for the next sample
	top       uint16            // the place of the sample that has to go next, if there are samples
	largestOf [maxGroups]uint32 // per group of places: its largest key's rank; see findTop
}

// sampleKey is a key in 24 bits: a positive float32 without the last 8 bits of its fraction, so that greater keys
// are greater integers, under a bit that says that the sample shares its leaf, or has done so, with others. Keys
// are compared, and the largest sets the probability to be accepted; its error of 3 parts in 100,000 does not matter,
// because keys are random.
type sampleKey [3]uint8

const sharesLeaf = 1 << 7 // in the last byte

func keyOf(v float32) sampleKey {
	b := math.Float32bits(v)
	return sampleKey{uint8(b >> 8), uint8(b >> 16), uint8(b >> 24)}
}

// freeOfRank has the bits that are 0 in all ranks.
const freeOfRank = 1<<8 - 1

// rank returns the key as an integer, 0 where there is no sample.
func (k *sampleKey) rank() uint32 {
	return uint32(k[0])<<8 | uint32(k[1])<<16 | uint32(k[2]&^sharesLeaf)<<24
}
func (k *sampleKey) value() float32 { return math.Float32frombits(k.rank()) }
func (k *sampleKey) held() bool     { return k[2] != 0 } // it is 2 for smallestKey
func (k *sampleKey) shared() bool   { return k[2]&sharesLeaf != 0 }
func (k *sampleKey) share()         { k[2] |= sharesLeaf }
func (k *sampleKey) ownLeaf()       { k[2] &^= sharesLeaf }

const (
	// maxElapsed is the largest decay * time since the epoch: keys of float32 stay far from its limits.
	maxElapsed = 32
	// smallestKey is below every key that occurs in the life of a forest.
	smallestKey = 1e-37
)

// clock is the stream's time, in points, as reservoirs see it.
type clock struct {
	now    uint64
	epoch  uint64  // the time to which keys are relative
	decay  float64 // per point
	loss   float64 // 1 - exp(-decay)
	growth float64 // exp(decay * time since the epoch)
}

func newClock(decay float64) clock {
	return clock{decay: decay, loss: -expm1(-decay)}
}

// elapsed is decay times the time from the epoch to now.
func (c *clock) elapsed(now uint64) float64 { return float64(c.decay * float64(now-c.epoch)) }

// set moves the clock to now. If that is far from the epoch, it moves the epoch too, and returns the factor by
// which all keys must age; otherwise 1.
func (c *clock) set(now uint64) (age float64) {
	c.now = now
	elapsed := c.elapsed(now)
	c.growth = exp(elapsed)
	if elapsed <= maxElapsed {
		return 1
	}
	age = c.growth
	c.epoch, c.growth = now, 1
	return age
}

// full reports whether the reservoir holds as many points as it may.
func (r *reservoir) full(size int) bool { return int(r.n) >= size }

// largest returns the key of the sample that has to go next.
func (r *reservoir) largest() float32 { return r.key[r.top].value() }

// verdict is what a reservoir decides about a point.
type verdict struct {
	accept bool
	evict  bool    // if accepted: the point with the largest key has to go
	key    float32 // if accepted
}

// offer decides about the point that arrives now. size is the reservoir's capacity, fraction the share of it that is
// filled eagerly.
func (r *reservoir) offer(c *clock, size int, fraction float64) verdict {
	if r.full(size) {
		if c.now < r.next {
			return verdict{}
		}
		return verdict{accept: true, evict: true, key: r.acceptedKey(c)}
	}
	key := max(smallestKey, float32(r.random.exponential()/c.growth))
	filled := float64(r.n) / float64(size)
	if filled < fraction || r.random.uniform() < 1-(filled-fraction)/(1-fraction) {
		return verdict{accept: true, key: key}
	}
	replace := r.n > 0 && key < r.largest()
	return verdict{accept: replace, evict: replace, key: key}
}

// acceptedKey draws a key on condition that it is smaller than the largest.
func (r *reservoir) acceptedKey(c *clock) float32 {
	limit := float64(float64(r.largest()) * c.growth) // E is below it
	var e float64
	if limit < 0.5 {
		// Between 0 and limit E is nearly uniform: draw that, and reject as often as makes it exponential.
		for {
			e = float64(limit * r.random.uniform())
			if u := r.random.uniform(); u < 1-e || u < exp(-e) {
				break
			}
		}
	} else {
		e = -log1p(float64(r.random.uniform() * expm1(-limit)))
	}
	return max(smallestKey, min(r.largest(), float32(e/c.growth)))
}

// schedule draws when the next point will be accepted, given that the one at c.now has been dealt with.
func (r *reservoir) schedule(c *clock) {
	// A point is accepted if E < largest * exp(decay * time since the epoch). Rejecting all points up to some
	// time has probability exp(-sum of these limits), so the sum at acceptance passes an exponential number.
	wait := r.random.exponential() / float64(float64(r.largest())*c.growth)
	if c.decay > 0 {
		wait = log1p(float64(wait*c.loss)) / c.decay
	}
	wait = math.Ceil(wait)
	if !(wait >= 1) {
		wait = 1
	} else if wait > 1<<62 {
		wait = 1 << 62
	}
	r.next = c.now + uint64(wait)
}

// held returns the keys of the places where samples are, and that of spare.
func (r *reservoir) held() []sampleKey { return r.key[:min(len(r.key), int(r.n)+1)] }

// put puts a sample into the spare place. The caller then calls push or evict.
func (r *reservoir) put(key float32) { r.key[r.spare] = keyOf(key) }

// push ends put: the reservoir has one sample more.
func (r *reservoir) push(rows []uint16) {
	r.enter(int(r.spare))
	grown := r.key[r.spare].rank() >= r.key[r.top].rank()
	r.n++
	r.spare = r.n
	if grown {
		r.findTop(rows)
	}
}

// evict ends put: the sample with the largest key goes. It returns its place and whether it may have shared its leaf.
func (r *reservoir) evict(rows []uint16) (place int, shared bool) {
	place = int(r.top)
	shared = r.key[place].shared()
	r.key[place] = sampleKey{}
	r.enter(int(r.spare))
	r.spare = r.top
	r.leave(place >> r.groupBits())
	r.findTop(rows)
	return place, shared
}

// Looking for the next sample to go among all keys took a seventh of the time of a forest of one dimension. So the
// places form up to maxGroups groups of equal size, and the largest key of each is kept beside the others'.

const maxGroups = 17 // as 256 samples have 257 places, for groups of 16

// groupBits returns the logarithm to base 2 of the places in a group.
func (r *reservoir) groupBits() int { return max(0, bits.Len(uint(len(r.key)-2))-4) }

// group returns the keys of a group, and its first place.
func (r *reservoir) group(group int) (keys []sampleKey, first int) {
	first = group << r.groupBits()
	return r.key[first:min(len(r.key), first+1<<r.groupBits())], first
}

// enter updates the group of a place for the key that has been put there.
func (r *reservoir) enter(place int) {
	largest := &r.largestOf[place>>r.groupBits()]
	*largest = max(*largest, r.key[place].rank())
}

// leave updates a group for a key of it that has gone.
func (r *reservoir) leave(group int) {
	keys, _ := r.group(group)
	var largest uint32
	for i := range keys {
		largest = greaterRank(largest, keys[i].rank())
	}
	r.largestOf[group] = largest
}

// greaterRank returns the greater of two ranks. The compiler makes a branch of max in these loops, which cannot be
// predicted.
func greaterRank(a, b uint32) uint32 {
	d := int64(b) - int64(a)
	return a + uint32(d&^(d>>63))
}

// findTop looks for the sample that has to go next, the one with the largest key. It has no branch that depends on
// the keys, unless two are the same.
func (r *reservoir) findTop(rows []uint16) {
	// The greatest rank with, in its last bits, which are free, the group. Four at a time do not wait for each other.
	var a, b, c, d uint32
	for i := 0; i < maxGroups-1; i += 4 {
		four, group := (*[4]uint32)(r.largestOf[i:]), uint32(i)
		a, b = greaterRank(a, four[0]|group), greaterRank(b, four[1]|(group+1))
		c, d = greaterRank(c, four[2]|(group+2)), greaterRank(d, four[3]|(group+3))
	}
	const last = maxGroups - 1
	best := greaterRank(greaterRank(greaterRank(a, b), greaterRank(c, d)), r.largestOf[last]|last)
	largest, found, n := best&^uint32(freeOfRank), 0, 0
	for group := range r.largestOf {
		n += b2i(r.largestOf[group] == largest)
	}
	keys, first := r.group(int(best & freeOfRank))
	for i := range keys {
		is := b2i(keys[i].rank() == largest)
		found |= i & -is
		n += is
	}
	r.top = uint16(first + found)
	if n > 2 { // more than one group, or more than one in it
		r.findOldest(largest, rows)
	}
}

// findOldest makes the sample that has to go next the one with the oldest window of those with that rank, so that
// the choice does not depend on places. rows are the windows' numbers, as a tree keeps them.
func (r *reservoir) findOldest(rank uint32, rows []uint16) {
	found := -1
	for place := range r.key {
		if r.key[place].rank() == rank && (found < 0 || rowAt(rows, len(r.key), place) < rowAt(rows, len(r.key), found)) {
			found = place
		}
	}
	r.top = uint16(found)
}

// regroup finds everything anew, for other places or keys.
func (r *reservoir) regroup(rows []uint16) {
	clear(r.largestOf[:])
	for place := range r.key {
		r.enter(place)
	}
	if r.n > 0 {
		r.findTop(rows)
	}
}

// age multiplies all keys by growth, as the epoch moves on. Their order stays, except that rounding may make some
// equal.
func (r *reservoir) age(growth float64, rows []uint16) {
	for i, key := range r.key {
		if key.held() {
			aged := float32(min(math.MaxFloat32, max(smallestKey, float64(float64(key.value())*growth))))
			r.key[i] = keyOf(aged)
			if key.shared() {
				r.key[i].share()
			}
		}
	}
	r.regroup(rows)
}
