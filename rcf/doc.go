// Package rcf is a streaming Random Cut Forest: it learns what a stream of points of numbers usually
// looks like and scores how much a point stands out from it, in one pass and in bounded memory.
//
// A forest keeps several trees. Each tree holds a random sample of the stream, weighted towards recent
// points, and cuts the box around it at random, in a dimension chosen in proportion to the side's length,
// until every distinct point is alone. A point that such cuts separate from the others early is an
// anomaly: it would displace much of the tree if it were inserted. The score is near 1 for a point like
// the others and grows to log2(SampleSize+1) for one that lies far outside; how large is large depends on
// the stream, so compare a score with earlier scores rather than with a constant.
//
//	forest, err := rcf.New(rcf.Config{Dimensions: 1})
//	...
//	score, err := forest.Process([]float64{rpm})
//
// With Shingle k > 1 a point stands for the last k values of the stream, so that the forest judges shapes
// rather than single values; the forest keeps the values itself and stores each of them once.
//
// Attribute says how much of a score each value owes to being high or low; Expected what the values that stand
// out would usually have been, with a range; Impute what a missing value probably was; UpdateMissing feeds a
// stream that has gaps.
//
// A Detector turns a stream into decisions: it runs forests over several views of it, calibrates their scores, alerts
// once and says how long the trouble lasts; it learns for ever, or the first points only. KDA scores as the
// RANDOM_CUT_FOREST of Amazon's Kinesis Data Analytics did.
//
// Values go in as float64 and are stored as float32: about seven digits count, and a magnitude beyond
// 3.4e38 is an error. Of large values that differ little give a forest the differences, as a Detector does by itself.
// Scores are always finite. After the forest has reached its full size, scoring and updating allocate nothing.
//
// A forest is deterministic: the same Config and the same points give the same scores bit for bit on every
// platform, and so does a forest restored from a snapshot (MarshalBinary, UnmarshalBinary) at any point of
// the stream. A Forest is not safe for concurrent use, not even by two calls of Score.
//
// DESIGN.md in this folder explains the algorithm and names its sources.
package rcf
