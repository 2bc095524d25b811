using System;
using System.Collections.Generic;
using System.Linq;
using System.Net;
using XenDM.Backends.Net;
using XenDM.Core.Backends;

namespace XenDM.Backends.Tests.Net;

/// <summary>What is joined is what would be cut into the same segments again, and nothing else is joined.</summary>
public class SegmentJoinerTests
{
    private const int Mss = 1460, HeaderBytes = 54;
    private const byte Fin = 1, Syn = 2, Push = 8, Ack = 16, Urg = 32, Ece = 64;
    private static readonly IPAddress s_server = IPAddress.Parse("10.0.2.2"), s_guest = IPAddress.Parse("10.0.2.15");
    private readonly FrameQueue _queue = new(1 << 20);
    private readonly SegmentJoiner _joiner = new();

    [Theory]
    [InlineData(2 * Mss)]
    [InlineData((7 * Mss) + 1)]
    [InlineData(44 * Mss)]
    [InlineData(Mss + 1)]
    public void JoinedSegmentsAreCutAgain(int bytes)
    {
        var segments = Segments(bytes);
        Add(segments);
        Assert.Equal(segments.Count, _joiner.Join(_queue));
        var frame = _joiner.Frame;
        Assert.Equal((NetSegmentation.Tcp4, Mss, HeaderBytes, true, true), (frame.Segmentation, frame.SegmentBytes, frame.HeaderBytes, frame.NeedsChecksum, frame.IsValid));
        Assert.Equal(HeaderBytes + bytes, _joiner.Bytes.Length);
        Assert.Equal(segments, Cut(frame, _joiner.Bytes));
    }

    [Fact]
    public void AFrameHasNoMoreThanIpCanSay()
    {
        var segments = Segments(100 * Mss);
        Add(segments);
        var joined = new List<byte[]>();
        while (!_queue.IsEmpty)
        {
            var count = _joiner.Join(_queue);
            Assert.InRange(count, 12, 44);
            joined.AddRange(Cut(_joiner.Frame, _joiner.Bytes));
            for (; count > 0; count--) _queue.Remove();
        }

        Assert.Equal(segments.Count, joined.Count);
        Assert.Equal(segments.Select(static s => s[HeaderBytes..]), joined.Select(static s => s[HeaderBytes..]));
    }

    [Fact]
    public void WhatWasJoinedBeforeLeavesNothingBehind()
    {
        Add(Segments(5 * Mss));
        Assert.Equal(5, _joiner.Join(_queue));
        Assert.Equal(5, _joiner.Join(_queue));
        Assert.Equal(Segments(5 * Mss), Cut(_joiner.Frame, _joiner.Bytes));
    }

    /// <summary>The second of three segments is changed.</summary>
    public static TheoryData<string> Changes => [.. s_changes.Keys];

    private static readonly Dictionary<string, Action<byte[]>> s_changes = new()
    {
        ["sequence"] = static f => f[41]++,
        ["port"] = static f => f[37]++,
        ["address"] = static f => f[29]++,
        ["acknowledge"] = static f => f[45]++,
        ["window"] = static f => f[49]++,
        ["type of service"] = static f => f[15] = 1,
        ["time to live"] = static f => f[22]--,
        ["fragment"] = static f => f[20] = 0x20,
        ["protocol"] = static f => f[23] = 17,
        ["fin"] = static f => f[47] |= Fin,
        ["syn"] = static f => f[47] |= Syn,
        ["urgent"] = static f => f[47] |= Urg,
        ["congestion"] = static f => f[47] |= Ece,
        ["no acknowledge"] = static f => f[47] = 0,
        ["length"] = static f => f[17]--,
        ["options"] = static f => f[46] = 0x60,
        ["IP options"] = static f => f[14] = 0x46,
        ["station"] = static f => f[5]++,
        ["type"] = static f => f[13] = 6,
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void WhatDoesNotContinueIsNotJoined(string change)
    {
        foreach (var at in new[] { 0, 1 })
        {
            _queue.Clear();
            var segments = Segments(3 * Mss);
            s_changes[change](segments[at]);
            Add(segments);
            Assert.Equal(1, _joiner.Join(_queue));
        }
    }

    [Fact]
    public void OnlyTheLastIsShorterOrWillBePassedOn()
    {
        var segments = Segments(3 * Mss);
        segments[1][47] |= Push;
        Add(segments);
        Assert.Equal(2, _joiner.Join(_queue));
        Assert.Equal(Ack | Push, _joiner.Bytes[47]);
        _queue.Clear();
        segments = Segments(3 * Mss);
        segments[0][47] |= Push;
        Add(segments);
        Assert.Equal(1, _joiner.Join(_queue));
        _queue.Clear();
        Add([Segment(0, 1000), Segment(1000, 999), Segment(1999, 1000)]);
        Assert.Equal(2, _joiner.Join(_queue));
        _queue.Clear();
        Add([Segment(0, 1000), Segment(1000, 1001)]);
        Assert.Equal(1, _joiner.Join(_queue));
        _queue.Clear();
        Add([Segment(0, 0), Segment(0, 0)]);
        Assert.Equal(1, _joiner.Join(_queue));
        _queue.Clear();
        Add([Segment(0, 63), Segment(63, 63)]);
        Assert.Equal(1, _joiner.Join(_queue));
    }

    /// <summary>Bytes at random, also behind headers that look right.</summary>
    [Fact]
    public void AnythingIsHarmless()
    {
        var random = new Random(3);
        for (var n = 0; n < 3000; n++)
        {
            _queue.Clear();
            var segments = Segments(4 * Mss);
            foreach (var segment in segments)
            {
                for (var changes = random.Next(3); changes > 0; changes--) segment[random.Next(HeaderBytes + 10)] = (byte)random.Next(256);
                _queue.TryAdd(segment.AsSpan(0, random.Next(4) == 0 ? random.Next(14, segment.Length) : segment.Length));
            }

            if (_joiner.Join(_queue) > 1) Assert.NotEmpty(Cut(_joiner.Frame, _joiner.Bytes));
        }
    }

    private static byte[] Segment(uint sequence, int bytes, byte flags = Ack)
    {
        var data = new byte[bytes];
        new Random((int)sequence).NextBytes(data);
        return Packet.Ethernet(Packet.GuestMac, 0x0800, Packet.Ip(s_server, s_guest, Packet.Tcp, Packet.TcpSegment(80, 4711, uint.MaxValue - 2000 + sequence, 99, flags, data)));
    }

    /// <summary>A stream cut into segments, over the end of the sequence numbers; the last one has PSH.</summary>
    private static List<byte[]> Segments(int bytes)
    {
        var all = new List<byte[]>();
        var frame = Segment(0, Math.Min(bytes, 44 * Mss), Ack | Push);
        for (var at = 0; at < bytes; at += 44 * Mss)
        {
            frame = Segment((uint)at, Math.Min(bytes - at, 44 * Mss), Ack | Push);
            all.AddRange(Cut(new NetFrame { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Segmentation = NetSegmentation.Tcp4, SegmentBytes = Mss, HeaderBytes = HeaderBytes }, frame));
        }

        return all;
    }

    private static List<byte[]> Cut(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        var cut = new List<byte[]>();
        var finisher = new NetFinisher();
        Assert.True(finisher.Begin(frame, bytes, NetOffloads.None));
        while (finisher.Next(bytes, out var ready, out _)) cut.Add(ready.ToArray());
        return cut;
    }

    private void Add(List<byte[]> frames)
    {
        foreach (var frame in frames) Assert.True(_queue.TryAdd(frame));
    }
}
