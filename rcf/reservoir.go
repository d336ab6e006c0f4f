package rcf

import "math"

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
type reservoir struct {
	key    []float32 // a heap, largest first; all positive
	leaf   []uint16  // per key: the leaf that holds the point
	next   uint64    // time of the next acceptance, while the reservoir is full
	random splitMix
}

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

// full says whether the reservoir holds as many points as it may.
func (r *reservoir) full(size int) bool { return len(r.key) >= size }

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
	filled := float64(len(r.key)) / float64(size)
	if filled < fraction || r.random.uniform() < 1-(filled-fraction)/(1-fraction) {
		return verdict{accept: true, key: key}
	}
	replace := len(r.key) > 0 && key < r.key[0]
	return verdict{accept: replace, evict: replace, key: key}
}

// acceptedKey draws a key on condition that it is smaller than the largest.
func (r *reservoir) acceptedKey(c *clock) float32 {
	limit := float64(float64(r.key[0]) * c.growth) // E is below it
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
	return max(smallestKey, min(r.key[0], float32(e/c.growth)))
}

// schedule draws when the next point will be accepted, given that the one at c.now has been dealt with.
func (r *reservoir) schedule(c *clock) {
	// A point is accepted if E < largest * exp(decay * time since the epoch). Rejecting all points up to some
	// time has probability exp(-sum of these limits), so the sum at acceptance passes an exponential number.
	wait := r.random.exponential() / float64(float64(r.key[0])*c.growth)
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

// reserve makes room for that many points, so that push need not allocate.
func (r *reservoir) reserve(points int) {
	if points > cap(r.key) {
		r.key = append(make([]float32, 0, points), r.key...)
		r.leaf = append(make([]uint16, 0, points), r.leaf...)
	}
}

// push adds a point.
func (r *reservoir) push(key float32, leaf int) {
	r.key = append(r.key, key)
	r.leaf = append(r.leaf, uint16(leaf))
	at := len(r.key) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if r.key[parent] >= key {
			break
		}
		r.key[at], r.leaf[at] = r.key[parent], r.leaf[parent]
		at = parent
	}
	r.key[at], r.leaf[at] = key, uint16(leaf)
}

// replace puts a point in the place of the one with the largest key.
func (r *reservoir) replace(key float32, leaf int) {
	at := 0
	for {
		child := 2*at + 1
		if child >= len(r.key) {
			break
		}
		if child+1 < len(r.key) && r.key[child+1] > r.key[child] {
			child++
		}
		if r.key[child] <= key {
			break
		}
		r.key[at], r.leaf[at] = r.key[child], r.leaf[child]
		at = child
	}
	r.key[at], r.leaf[at] = key, uint16(leaf)
}

// age multiplies all keys by growth, as the epoch moves on; the heap stays a heap, for rounding is monotone.
func (r *reservoir) age(growth float64) {
	for i, key := range r.key {
		r.key[i] = float32(min(math.MaxFloat32, max(smallestKey, float64(float64(key)*growth))))
	}
}
