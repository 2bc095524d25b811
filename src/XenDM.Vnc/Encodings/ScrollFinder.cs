using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.Intrinsics;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>Part of a picture that is found again, whole, higher or lower in the new one.</summary>
/// <param name="Area">Where it is now.</param>
/// <param name="FromY">The line at which it was; the column is the same.</param>
public readonly record struct ScrollMove(PictureArea Area, int FromY);

/// <summary>
/// Finds out that a text console, or a window, has scrolled: lines are hashed, lines that are like no other one in the old picture vote for how far they
/// moved, and the longest run of lines that moved so is the result. What is found is compared pixel by pixel, so that it is right. Takes time for two
/// looks at the area, and no more than the memory of a few words for each line.
/// </summary>
public sealed class ScrollFinder
{
    private const int Places = 4 * Frame.MaxHeight;
    private const ulong HashFactor = 0x9e3779b97f4a7c15;

    /// <summary>Lines of the area below which a search does not pay, and lines that must have changed place.</summary>
    private const int MinLines = 32, MinMoved = 16;

    private readonly ulong[] _old = new ulong[Frame.MaxHeight];
    private readonly ulong[] _new = new ulong[Frame.MaxHeight];

    // Lines by their hash: 0 is an empty place, else the line's number + 1, negative when several lines have this hash.
    private readonly int[] _places = new int[Places];
    private readonly int[] _votes = new int[2 * Frame.MaxHeight];

    /// <param name="shown">The picture as it was.</param>
    /// <param name="now">As it is; of the same size.</param>
    /// <param name="area">The part that changed; what is found lies within it.</param>
    /// <param name="move">What moved, when something was found.</param>
    /// <returns>False when nothing, or not enough, moved.</returns>
    public bool TryFind(Frame shown, Frame now, PictureArea area, out ScrollMove move)
    {
        move = default;
        if (area.Height < MinLines) return false;
        ReadOnlySpan<ulong> before = Hash(shown, area, _old), after = Hash(now, area, _new);
        var changed = 0;
        for (var i = 0; i < before.Length; i++) changed += before[i] != after[i] ? 1 : 0;
        if (changed < MinMoved) return false;
        var distance = Vote(before, after);
        if (distance == 0) return false;
        var (start, length) = LongestRun(before, after, distance);
        if (length < MinMoved) return false;

        // Hashes can be equal by chance, or by a guest's wish: what differs bounds the run.
        for (var i = 0; i < length; i++)
        {
            var y = area.Y + start + i;
            if (now.Line(y).Slice(area.X, area.Width).SequenceEqual(shown.Line(y + distance).Slice(area.X, area.Width))) continue;
            length = i;
            break;
        }

        if (length < MinMoved) return false;
        move = new ScrollMove(area with { Y = area.Y + start, Height = length }, area.Y + start + distance);
        return true;
    }

    /// <summary>Writes a rectangle of encoding 1, CopyRect (RFC 6143, 7.7.2).</summary>
    public static void Write(ScrollMove move, IBufferWriter<byte> output)
    {
        const int SourceLength = 4;
        RfbEncoder.WriteHeader(move.Area, RfbEncodings.CopyRect, output);
        var source = output.GetSpan(SourceLength);
        BinaryPrimitives.WriteUInt16BigEndian(source, (ushort)move.Area.X);
        BinaryPrimitives.WriteUInt16BigEndian(source[2..], (ushort)move.FromY);
        output.Advance(SourceLength);
    }

    /// <summary>Does to a picture what the rectangle does to the client's.</summary>
    public static void Apply(ScrollMove move, Frame frame)
    {
        var (area, distance) = (move.Area, move.FromY - move.Area.Y);
        for (var i = 0; i < area.Height; i++)
        {
            // A line is read before it is written over.
            var y = area.Y + (distance > 0 ? i : area.Height - 1 - i);
            frame.Line(y + distance).Slice(area.X, area.Width).CopyTo(frame.Line(y).Slice(area.X, area.Width));
        }
    }

    private static Span<ulong> Hash(Frame frame, PictureArea area, ulong[] hashes)
    {
        for (var i = 0; i < area.Height; i++) hashes[i] = Hash(frame.Line(area.Y + i).Slice(area.X, area.Width));
        return hashes.AsSpan(0, area.Height);
    }

    private static ulong Hash(ReadOnlySpan<uint> line)
    {
        // Four sums, for a product is waited for longer than it takes.
        var sum = Vector128.Create(HashFactor, ~HashFactor).AsUInt32();
        Vector128<uint> second = ~sum, third = sum + sum, fourth = ~third;
        var i = 0;
        for (; i <= line.Length - 16; i += 16)
        {
            sum = Mix(sum, Vector128.Create(line[i..]));
            second = Mix(second, Vector128.Create(line[(i + 4)..]));
            third = Mix(third, Vector128.Create(line[(i + 8)..]));
            fourth = Mix(fourth, Vector128.Create(line[(i + 12)..]));
        }

        for (; i <= line.Length - 4; i += 4) sum = Mix(sum, Vector128.Create(line[i..]));
        var all = Mix(Mix(Mix(sum, second), third), fourth).AsUInt64();
        var hash = (all[0] * HashFactor) + BitOperations.RotateLeft(all[1], 29);
        for (; i < line.Length; i++) hash = (BitOperations.RotateLeft(hash, 13) ^ line[i]) * HashFactor;
        hash ^= hash >> 32;
        return hash * HashFactor;
    }

    private static Vector128<uint> Mix(Vector128<uint> sum, Vector128<uint> value)
    {
        var mixed = (sum ^ value) * Vector128.Create(0x85ebca6bu);
        return mixed ^ Vector128.ShiftRightLogical(mixed, 15);
    }

    /// <returns>By how many lines what is now at a line was lower before; 0 for no answer.</returns>
    private int Vote(ReadOnlySpan<ulong> before, ReadOnlySpan<ulong> after)
    {
        var bits = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)before.Length * 4));
        var places = _places.AsSpan(0, 1 << bits);
        places.Clear();
        for (var i = 0; i < before.Length; i++)
        {
            ref var place = ref places[Find(places, before, before[i], bits)];
            place = place == 0 ? i + 1 : -Math.Abs(place);
        }

        var votes = _votes.AsSpan(0, 2 * before.Length);
        votes.Clear();
        var best = before.Length;
        for (var i = 0; i < after.Length; i++)
        {
            if (after[i] == before[i]) continue;
            var line = places[Find(places, before, after[i], bits)] - 1;
            if (line < 0) continue;
            var distance = line - i + before.Length;
            if (++votes[distance] > votes[best] || best == before.Length) best = distance;
        }

        return best - before.Length;
    }

    private static int Find(ReadOnlySpan<int> places, ReadOnlySpan<ulong> hashes, ulong hash, int bits)
    {
        var at = (int)(hash >> (64 - bits));
        while (places[at] != 0 && hashes[Math.Abs(places[at]) - 1] != hash) at = (at + 1) & (places.Length - 1);
        return at;
    }

    /// <summary>The longest run of lines that moved, whose first and last line are not what they were before.</summary>
    private static (int Start, int Length) LongestRun(ReadOnlySpan<ulong> before, ReadOnlySpan<ulong> after, int distance)
    {
        int bestStart = 0, bestLength = 0;
        int from = Math.Max(0, -distance), to = Math.Min(before.Length, before.Length - distance);
        for (var i = from; i < to;)
        {
            var start = i;
            while (i < to && after[i] == before[i + distance]) i++;
            var end = i;
            while (start < end && after[start] == before[start]) start++;
            while (end > start && after[end - 1] == before[end - 1]) end--;
            if (end - start > bestLength) (bestStart, bestLength) = (start, end - start);
            i++;
        }

        return (bestStart, bestLength);
    }
}
