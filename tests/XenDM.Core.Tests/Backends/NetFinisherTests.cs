using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.Core.Tests.Backends;

public sealed class NetFinisherTests
{
    private const byte CongestionWindowReduced = 0x80, Ack = 16, Push = 8, Fin = 1;
    private static readonly byte[] s_addresses4 = [10, 1, 2, 3, 192, 168, 200, 7];
    private static readonly byte[] s_addresses6 = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 9, 8, 7, 6, 5, 4, 3, 2];

    /// <summary>The sum of RFC 1071, one word after the other.</summary>
    private static uint Sum(ReadOnlySpan<byte> bytes)
    {
        ulong sum = 0;
        for (var i = 0; i < bytes.Length; i++) sum += (i & 1) == 0 ? (ulong)bytes[i] << 8 : bytes[i];
        while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
        return (uint)sum;
    }

    /// <summary>A frame with so many tags, options or extension headers, and data; the checksum holds the pseudo header's sum.</summary>
    private static byte[] Frame(bool v6, int tags, int protocol, byte[] data, byte[]? ipOptions = null, byte[]? tcpOptions = null, byte tcpFlags = Ack | Push | Fin | CongestionWindowReduced)
    {
        tcpOptions ??= [];
        byte[] transport = protocol == 6
            ? [0x30, 0x39, 0, 80, 0xff, 0xff, 0xf0, 0, 1, 2, 3, 4, (byte)((20 + tcpOptions.Length) << 2), tcpFlags, 0x20, 0, 0, 0, 0, 0, .. tcpOptions, .. data]
            : [0x30, 0x39, 0, 53, (byte)((8 + data.Length) >> 8), (byte)(8 + data.Length), 0, 0, .. data];
        var addresses = v6 ? s_addresses6 : s_addresses4;
        byte[] pseudo = [.. addresses, 0, (byte)protocol, (byte)(transport.Length >> 8), (byte)transport.Length];
        var sum = Sum(pseudo) + (uint)(transport.Length >> 16);
        sum = (sum >> 16) + (sum & 0xffff);
        BinaryPrimitives.WriteUInt16BigEndian(transport.AsSpan(protocol == 6 ? 16 : 6), (ushort)sum);
        ipOptions ??= [];
        var length = ipOptions.Length + transport.Length + (v6 ? 0 : 20);
        byte[] ip;
        if (v6)
        {
            ip = [0x60, 0, 0, 0, (byte)(length >> 8), (byte)length, (byte)(ipOptions.Length > 0 ? 0 : protocol), 64, .. addresses, .. ipOptions];
        }
        else
        {
            ip = [(byte)(0x45 + (ipOptions.Length / 4)), 0, (byte)(length >> 8), (byte)length, 0xff, 0xfe, 0x40, 0, 64, (byte)protocol, 0, 0, .. addresses, .. ipOptions];
            BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), (ushort)~Sum(ip));
        }

        var ethernet = new List<byte> { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
        for (var i = 0; i < tags; i++) ethernet.AddRange(i == 0 && tags > 1 ? [0x88, 0xa8, 0, 5] : [0x81, 0, 0, 6]);
        ethernet.AddRange(v6 ? [0x86, 0xdd] : [8, 0]);
        return [.. ethernet, .. ip, .. transport];
    }

    private static List<byte[]> Finish(NetFinisher finisher, in NetFrame frame, byte[] bytes, NetOffloads taken = NetOffloads.None)
    {
        var all = new List<byte[]>();
        if (!finisher.Begin(frame, bytes, taken)) return all;
        while (finisher.Next(bytes, out var ready, out _)) all.Add(ready.ToArray());
        Assert.False(finisher.IsBusy);
        return all;
    }

    private static byte[] Data(int count)
    {
        var data = new byte[count];
        new Random(count).NextBytes(data);
        return data;
    }

    /// <summary>All sums of a frame without tags are right.</summary>
    private static void Verify(ReadOnlySpan<byte> frame, bool v6, int network, int ipHeader, int protocol)
    {
        var transport = frame[(network + ipHeader)..];
        if (!v6)
        {
            Assert.Equal(0xffffu, Sum(frame.Slice(network, ipHeader)));
            Assert.Equal(frame.Length - network, BinaryPrimitives.ReadUInt16BigEndian(frame[(network + 2)..]));
        }
        else
        {
            Assert.Equal(frame.Length - network - 40, BinaryPrimitives.ReadUInt16BigEndian(frame[(network + 4)..]));
        }

        byte[] all = [.. v6 ? s_addresses6 : s_addresses4, 0, (byte)protocol, (byte)(transport.Length >> 8), (byte)transport.Length, .. transport];
        Assert.Equal(0xffffu, Sum(all));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(31)]
    [InlineData(33)]
    [InlineData(1500)]
    [InlineData(65535)]
    public void SumsAreThoseOfTheRfc(int count)
    {
        var data = Data(count);
        Assert.Equal(Sum(data), NetChecksum.Fold(NetChecksum.Add(0, data)));
        Array.Fill(data, (byte)0xff);
        Assert.Equal(Sum(data), NetChecksum.Fold(NetChecksum.Add(0, data)));
        Assert.Equal((ushort)~Sum(data), NetChecksum.Of(NetChecksum.Add(0, data)));
    }

    [Theory]
    [InlineData(false, 0, 6, 0)]
    [InlineData(false, 1, 17, 1)]
    [InlineData(false, 2, 6, 1000)]
    [InlineData(true, 0, 6, 333)]
    [InlineData(true, 1, 17, 1400)]
    public void ABlankChecksumIsFoundAndFilledIn(bool v6, int tags, int protocol, int count)
    {
        var bytes = Frame(v6, tags, protocol, Data(count));
        var frame = default(NetFrame);
        Assert.True(NetHeaders.TryFindChecksum(bytes, ref frame));
        var network = 14 + (4 * tags);
        Assert.Equal((true, network + (v6 ? 40 : 20), protocol == 6 ? 16 : 6), (frame.NeedsChecksum, frame.ChecksumStart, frame.ChecksumOffset));
        Verify(Assert.Single(Finish(new NetFinisher(), frame, bytes)), v6, network, v6 ? 40 : 20, protocol);
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 0)]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public void ThePseudoSumIsPutWhereSomebodyLeftAnything(bool v6, int tags)
    {
        foreach (var protocol in (int[])[6, 17])
        {
            var bytes = Frame(v6, tags, protocol, Data(777));
            var copy = (byte[])bytes.Clone();
            Assert.True(NetHeaders.TryParse(bytes, out var headers));
            bytes[headers.TransportStart + headers.ChecksumOffset] ^= 0x5a;
            headers.PutPseudoSum(bytes);
            Assert.Equal(copy, bytes);
        }
    }

    [Theory]
    [InlineData(false, 10_000, 1460, 7)]
    [InlineData(false, 65_000, 1460, 45)]
    [InlineData(false, 1460, 1460, 1)]
    [InlineData(false, 1461, 1460, 2)]
    [InlineData(false, 0, 1460, 1)]
    [InlineData(true, 50_000, 1440, 35)]
    [InlineData(true, 100, 64, 2)]
    public void TcpIsCutIntoSegments(bool v6, int count, int size, int segments)
    {
        var data = Data(count);
        byte[] options = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        var bytes = Frame(v6, 0, 6, data, tcpOptions: options);
        var frame = new NetFrame { NeedsChecksum = true, Segmentation = v6 ? NetSegmentation.Tcp6 : NetSegmentation.Tcp4, SegmentBytes = (ushort)size };
        var all = Finish(new NetFinisher(), frame, bytes);
        Assert.Equal(segments, all.Count);
        var header = v6 ? 40 : 20;
        var came = new List<byte>();
        for (var i = 0; i < all.Count; i++)
        {
            var one = all[i];
            Verify(one, v6, 14, header, 6);
            var tcp = one.AsSpan(14 + header);
            Assert.Equal(0xfffff000u + (uint)came.Count, BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]));
            Assert.Equal(options, tcp[20..32]);
            if (!v6) Assert.Equal((ushort)(0xfffe + i), BinaryPrimitives.ReadUInt16BigEndian(one.AsSpan(18)));
            var expected = Ack | (i == 0 ? CongestionWindowReduced : 0) | (i == all.Count - 1 ? Push | Fin : 0);
            Assert.Equal(expected, tcp[13]);
            Assert.True(tcp.Length - 32 <= size);
            came.AddRange(tcp[32..]);
        }

        Assert.Equal(data, came.ToArray());
    }

    [Fact]
    public void UncutWithItsChecksumIsOneFrame()
    {
        // Some drivers leave IP's length at zero for whoever cuts.
        var bytes = Frame(false, 1, 6, Data(60_000));
        bytes[20] = bytes[21] = 0;
        var frame = new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1448 };
        Verify(Assert.Single(Finish(new NetFinisher(), frame, bytes, NetOffloads.Tcp4)), false, 18, 20, 6);
        Assert.Equal(bytes, Assert.Single(Finish(new NetFinisher(), frame, bytes, NetOffloads.Tcp4 | NetOffloads.Checksum)));
    }

    [Fact]
    public void OptionsAndExtensionHeadersAreSteppedOver()
    {
        byte[] hop = [6, 1, 5, 2, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0];
        Assert.True(NetHeaders.TryParse(Frame(true, 0, 6, Data(10), hop), out var headers));
        Assert.Equal((14 + 40 + 16, true), (headers.TransportStart, headers.IsIpv6));
        Assert.True(NetHeaders.TryParse(Frame(false, 0, 6, Data(10), [7, 3, 0, 0, 0, 0, 0, 0]), out headers));
        Assert.Equal((14, 42, 62, 72), (headers.NetworkStart, headers.TransportStart, headers.PayloadStart, headers.End));
    }

    /// <summary>Short frames are padded to 60 bytes on the wire: that is not the packet's.</summary>
    [Fact]
    public void PaddingIsNotThePackets()
    {
        byte[] bytes = [.. Frame(false, 0, 6, [1]), 0xee, 0xee, 0xee, 0xee, 0xee];
        Assert.True(NetHeaders.TryParse(bytes, out var headers));
        Assert.Equal(55, headers.End);
        var frame = new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 100 };
        Assert.Equal(55, Assert.Single(Finish(new NetFinisher(), frame, bytes)).Length);
    }

    [Fact]
    public void FragmentsHaveNoHeaderToFind()
    {
        var bytes = Frame(false, 0, 17, Data(100));
        bytes[20] = 0x20;
        Assert.False(NetHeaders.TryParse(bytes, out _));
        bytes[20] = 0;
        bytes[21] = 3;
        Assert.False(NetHeaders.TryParse(bytes, out _));
        Assert.False(NetHeaders.TryParse(Frame(true, 0, 44, Data(100)), out _));
    }

    [Theory]
    [InlineData(13, 0, 100)]
    [InlineData(0, 0, 100)]
    [InlineData(34, 67, 100)]
    [InlineData(65535, 65535, 100)]
    [InlineData(34, 16, 13)]
    public void AChecksumOutsideOfTheFrameMakesNoSense(int start, int offset, int length)
    {
        var frame = new NetFrame { NeedsChecksum = true, ChecksumStart = (ushort)start, ChecksumOffset = (ushort)offset };
        Assert.False(new NetFinisher().Begin(frame, new byte[length], NetOffloads.None));
        Assert.False(new NetFinisher().Begin(frame, new byte[length], NetOffloads.Checksum));
    }

    [Fact]
    public void SegmentsOfSomethingElseMakeNoSense()
    {
        var tcp4 = new NetFrame { Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1000 };
        var finisher = new NetFinisher();
        Assert.False(finisher.Begin(tcp4, Frame(false, 0, 17, Data(3000)), NetOffloads.None));
        Assert.False(finisher.Begin(tcp4, Frame(true, 0, 6, Data(3000)), NetOffloads.None));
        tcp4.SegmentBytes = 10;
        Assert.False(finisher.Begin(tcp4, Frame(false, 0, 6, Data(3000)), NetOffloads.None));
    }

    [Fact]
    public void ARefusedSegmentComesAgain()
    {
        var bytes = Frame(false, 0, 6, Data(3000));
        var frame = new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1000 };
        var finisher = new NetFinisher();
        var plain = Finish(finisher, frame, bytes);
        var all = new List<byte[]>();
        Assert.True(finisher.Begin(frame, bytes, NetOffloads.None));
        for (var n = 0; finisher.Next(bytes, out var ready, out _); n++)
        {
            if ((n & 1) == 0) finisher.Back();
            else all.Add(ready.ToArray());
        }

        Assert.Equal(plain, all);
    }

    [Fact]
    public void RandomHeadersStayWithinTheFrame()
    {
        var random = new Random(3);
        var finisher = new NetFinisher();
        for (var round = 0; round < 100_000; round++)
        {
            var bytes = Frame(random.Next(2) == 0, random.Next(3), random.Next(2) == 0 ? 6 : 17, new byte[random.Next(300)]);
            for (var n = random.Next(6); n > 0; n--) bytes[random.Next(12, Math.Min(bytes.Length, 80))] = (byte)random.Next(256);
            if (random.Next(4) == 0) Array.Resize(ref bytes, random.Next(bytes.Length + 1));
            var frame = new NetFrame
            {
                NeedsChecksum = random.Next(2) == 0,
                ChecksumStart = (ushort)random.Next(100),
                ChecksumOffset = (ushort)random.Next(20),
                Segmentation = (NetSegmentation)random.Next(3),
                SegmentBytes = (ushort)random.Next(200),
            };
            if (NetHeaders.TryParse(bytes, out var headers))
            {
                Assert.InRange(headers.TransportStart, headers.NetworkStart + 20, bytes.Length);
                Assert.InRange(headers.PayloadStart, headers.TransportStart + 8, headers.End);
                Assert.InRange(headers.End, headers.PayloadStart, bytes.Length);
                headers.PutPseudoSum(bytes);
            }

            var count = 0;
            if (!finisher.Begin(frame, bytes, (NetOffloads)random.Next(8))) continue;
            while (finisher.Next(bytes, out var ready, out _)) Assert.True(ready.Length <= NetFinisher.MaxFrame && ++count < 100);
        }
    }

    [Fact]
    public void NothingIsAllocatedForAFrame()
    {
        var bytes = Frame(false, 0, 6, Data(60_000));
        var frame = new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1460 };
        var finisher = new NetFinisher();
        Assert.Equal(0, Allocations.Of(Finish));

        void Finish()
        {
            finisher.Begin(frame, bytes, NetOffloads.None);
            while (finisher.Next(bytes, out _, out _))
            {
            }
        }
    }

    [Theory]
    [InlineData("52:54:00:12:34:56", true)]
    [InlineData("52-54-00-AB-cd-56", true)]
    [InlineData("52:54:00:12:34", false)]
    [InlineData("52:54:00:12:34:5g", false)]
    [InlineData("+2:54:00:12:34:56", false)]
    [InlineData("5254:00:12:34:5:6", false)]
    public void AddressesAreSixPairs(string text, bool good)
    {
        Assert.Equal(good, MacAddress.TryParse(text, out var address));
        if (!good) return;
        Assert.Equal(text.Replace('-', ':').ToLowerInvariant(), address.ToString());
        Assert.Equal(0x52, address.ToArray()[0]);
        Assert.False(address.IsMulticast);
    }
}
