using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Core.Time;
using static XenDM.Devices.Network.Ethernet;

namespace XenDM.Devices.Network;

/// <summary>
/// The receiver of the 82540EM: filters by address, VLAN and length, strips the VLAN tag, checks sums, adds the frame's own checksum, and
/// spreads the frame over the buffers of the descriptors from RDH to RDT. Data sheet: Intel 317453, section 3.2.
/// </summary>
internal sealed class E1000Receive : IStateful
{
    internal const uint RctlLoopback = 3 << 6;
    private const uint RctlEnable = 1 << 1;
    private const uint RctlUnicastAll = 1 << 3;
    private const uint RctlMulticastAll = 1 << 4;
    private const uint RctlLong = 1 << 5;
    private const uint RctlBroadcast = 1 << 15;
    private const uint RctlVlanFilter = 1 << 18;
    private const uint RctlCfiFilter = 1 << 19;
    private const uint RctlCfi = 1 << 20;
    private const uint RctlDropPause = 1 << 22;
    private const uint RctlPassControl = 1 << 23;
    private const uint RctlLargeBuffers = 1 << 25;
    private const uint RctlStripFcs = 1 << 26;

    private const uint SumIp = 1 << 8;
    private const uint SumTcpUdp = 1 << 9;

    private const int DescriptorBytes = 16;
    private const byte StatusDone = 1 << 0;
    private const byte StatusEnd = 1 << 1;
    private const byte StatusIgnoreSums = 1 << 2;
    private const byte StatusVlan = 1 << 3;
    private const byte StatusTcpSum = 1 << 5;
    private const byte StatusIpSum = 1 << 6;
    private const byte StatusInexact = 1 << 7;
    private const byte ErrorTcpSum = 1 << 5;
    private const byte ErrorIpSum = 1 << 6;

    private const int MaxFrame = 1518;
    private const int MaxLongFrame = 16384 - FcsBytes;

    /// <summary>Words of the filters, from 5200 on.</summary>
    private const int MulticastTable = 0, AddressTable = 0x80, VlanTable = 0x100;
    private const int AddressCount = 16;
    private const uint AddressValid = 1u << 31;
    private const uint AddressSelect = 3 << 16;

    /// <summary>Unit of RDTR and RADV in nanoseconds.</summary>
    private const long DelayUnit = 1024;
    private const uint DelayFlush = 1u << 31;

    private readonly E1000 _chip;
    private readonly INetBackend? _backend;
    private readonly IVmClock _clock;
    private readonly VmTimer _delay;
    [Glue("a frame on its way")]
    private readonly byte[] _buffer = new byte[MaxLongFrame + FcsBytes];
    [Glue("a fresh backend offers its frames by itself")]
    private bool _backendWaits;
    private long _delayEnd;

    public E1000Receive(E1000 chip, INetBackend? backend, IVmClock clock)
    {
        _chip = chip;
        _backend = backend;
        _clock = clock;
        _delay = clock.CreateTimer(chip.Id + ".rdtr", DelayOver);
    }

    /// <summary>There may be room again, or nobody listens any more: the backend brings what it keeps.</summary>
    public void Offer()
    {
        if (!_backendWaits || _backend is null) return;
        _backendWaits = false;
        _backend.ReceiveReady();
    }

    /// <inheritdoc cref="INetFrontend.Receive"/>
    public bool FromOutside(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (_chip.IsLooped || !_chip.IsLinkUp || Take(frame, bytes)) return true;
        _backendWaits = true;
        return false;
    }

    /// <summary>A frame arrives.</summary>
    /// <returns>False when descriptors are missing for it. A frame that the filters throw away, or that can never fit, is taken.</returns>
    public bool Take(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if ((_chip.Rctl & RctlEnable) == 0 || !_chip.Memory.Enabled || bytes.Length < EthernetHeader) return true;
        var count = _chip.Rdlen / DescriptorBytes;
        if (_chip.Rdt >= count) return true;
        if (_chip.Rdh >= count) _chip.Rdh = 0;
        var isTagged = BinaryPrimitives.ReadUInt16BigEndian(bytes[Addresses..]) == _chip.VlanType && bytes.Length >= EthernetHeader + TagBytes;
        var limit = (_chip.Rctl & RctlLong) != 0 ? MaxLongFrame : MaxFrame + TagBytes - FcsBytes;
        if (bytes.Length > limit || !Accepts(bytes, isTagged, out var isExact))
        {
            if (bytes.Length > limit) _chip.Count(0x40ac);
            CountTotal(bytes.Length);
            return true;
        }

        var bufferBytes = BufferBytes();
        var strips = isTagged && (_chip.Ctrl & E1000.CtrlVlanMode) != 0;
        var length = Math.Max(MinFrame, bytes.Length) - (strips ? TagBytes : 0);
        var keepsFcs = (_chip.Rctl & RctlStripFcs) == 0;
        var total = length + (keepsFcs ? FcsBytes : 0);
        var needed = (uint)((total + bufferBytes - 1) / bufferBytes);
        var free = _chip.Rdt >= _chip.Rdh ? _chip.Rdt - _chip.Rdh : count - _chip.Rdh + _chip.Rdt;
        if (needed > free)
        {
            if (needed < count) return false;
            _chip.Count(0x4010);
            return true;
        }

        var data = _buffer.AsSpan(0, total);
        var tag = (ushort)0;
        if (strips)
        {
            tag = BinaryPrimitives.ReadUInt16BigEndian(bytes[EthernetHeader..]);
            bytes[..Addresses].CopyTo(data);
            bytes[(Addresses + TagBytes)..].CopyTo(data[Addresses..]);
            data[(bytes.Length - TagBytes)..length].Clear();
        }
        else
        {
            bytes.CopyTo(data);
            data[bytes.Length..length].Clear();
        }

        // The sum on the wire is over the frame with its tag.
        if (keepsFcs) BinaryPrimitives.WriteUInt32LittleEndian(data[length..], strips ? EthernetCrc.ComputeTagged(data[..length], bytes.Slice(Addresses, TagBytes)) : EthernetCrc.Compute(data[..length]));
        Check(frame, data[..length], !strips && isTagged, out var status, out var errors, out var sum);
        if (strips) status |= StatusVlan;
        if (!isExact) status |= StatusInexact;
        Store(data, bufferBytes, count, status, errors, sum, tag);
        CountGood(bytes, Math.Max(MinFrame, bytes.Length) + FcsBytes);
        Tell(free, free - needed, count, total);
        return true;
    }

    /// <summary>Writes the frame into as many buffers as it takes, and each descriptor when its buffer is written.</summary>
    private void Store(ReadOnlySpan<byte> data, int bufferBytes, uint count, byte status, byte errors, ushort sum, ushort tag)
    {
        var ring = ((ulong)_chip.Rdbah << 32) | _chip.Rdbal;
        Span<byte> descriptor = stackalloc byte[DescriptorBytes];
        for (var done = 0; done < data.Length;)
        {
            var piece = data.Slice(done, Math.Min(bufferBytes, data.Length - done));
            var place = ring + (_chip.Rdh * DescriptorBytes);
            done += piece.Length;
            if (_chip.Memory.TryRead(place, descriptor))
            {
                _chip.Memory.TryWrite(BinaryPrimitives.ReadUInt64LittleEndian(descriptor), piece);
                var isLast = done == data.Length;
                BinaryPrimitives.WriteUInt16LittleEndian(descriptor[8..], (ushort)piece.Length);
                BinaryPrimitives.WriteUInt16LittleEndian(descriptor[10..], sum);
                descriptor[12] = (byte)(isLast ? status | StatusDone | StatusEnd : (status & (StatusVlan | StatusInexact)) | StatusDone);
                descriptor[13] = isLast ? errors : (byte)0;
                BinaryPrimitives.WriteUInt16LittleEndian(descriptor[14..], tag);
                _chip.Memory.TryWrite(place + 8, descriptor[8..]);
            }

            if (++_chip.Rdh == count) _chip.Rdh = 0;
        }
    }

    private int BufferBytes()
    {
        var size = (int)(_chip.Rctl >> 16) & 3;
        return (_chip.Rctl & RctlLargeBuffers) != 0 && size != 0 ? 32768 >> size : 2048 >> size;
    }

    /// <summary>The filters of section 3.2.1.</summary>
    /// <param name="isExact">By its own address, broadcast, or the hash table was not what let it in.</param>
    private bool Accepts(ReadOnlySpan<byte> frame, bool isTagged, out bool isExact)
    {
        var rctl = _chip.Rctl;
        var filters = _chip.Filters;
        isExact = true;
        if (isTagged && (rctl & RctlVlanFilter) != 0)
        {
            var tci = BinaryPrimitives.ReadUInt16BigEndian(frame[EthernetHeader..]);
            var id = tci & 0xfff;
            if ((filters[VlanTable + (id >> 5)] & (1u << (id & 31))) == 0) return false;
            if ((rctl & RctlCfiFilter) != 0 && ((tci & 0x1000) != 0) != ((rctl & RctlCfi) != 0)) return false;
        }

        if (IsPause(frame)) return (rctl & (RctlDropPause | RctlPassControl)) == RctlPassControl;
        var isMulticast = (frame[0] & 1) != 0;
        var low = BinaryPrimitives.ReadUInt32LittleEndian(frame);
        var high = (uint)BinaryPrimitives.ReadUInt16LittleEndian(frame[4..]);
        for (var i = 0; i < AddressCount; i++)
        {
            var entry = filters[AddressTable + (2 * i) + 1];
            if ((entry & AddressValid) == 0) continue;
            if ((entry & AddressSelect) == 0 ? filters[AddressTable + (2 * i)] == low && (entry & 0xffff) == high : IsSource(frame, filters[AddressTable + (2 * i)], entry)) return true;
        }

        if (isMulticast)
        {
            if ((rctl & RctlMulticastAll) != 0) return true;
            if ((rctl & RctlBroadcast) != 0 && IsBroadcast(frame)) return true;

            // RCTL.MO says which twelve bits of the address' last two bytes are looked up.
            var shift = (int)((rctl >> 12) & 3) switch { 0 => 4, 1 => 3, 2 => 2, _ => 0 };
            var hash = (int)(high >> shift) & 0xfff;
            isExact = false;
            return (filters[MulticastTable + (hash >> 5)] & (1u << (hash & 31))) != 0;
        }

        isExact = false;
        return (rctl & RctlUnicastAll) != 0;
    }

    private static bool IsSource(ReadOnlySpan<byte> frame, uint low, uint high) =>
        (high & AddressSelect) == 1 << 16 && BinaryPrimitives.ReadUInt32LittleEndian(frame[6..]) == low && BinaryPrimitives.ReadUInt16LittleEndian(frame[10..]) == (high & 0xffff);

    /// <summary>A frame of flow control (IEEE 802.3 annex 31B): its address and type are fixed.</summary>
    private static bool IsPause(ReadOnlySpan<byte> frame) =>
        frame[12] == 0x88 && frame[13] == 0x08 && BinaryPrimitives.ReadUInt32BigEndian(frame) == 0x0180_c200 && BinaryPrimitives.ReadUInt16BigEndian(frame[4..]) == 1;

    /// <summary>The sums that the chip checks, and the one over the packet that it reports.</summary>
    private void Check(in NetFrame frame, ReadOnlySpan<byte> data, bool isTagged, out byte status, out byte errors, out ushort sum)
    {
        status = StatusIgnoreSums;
        errors = 0;
        var start = (int)(_chip.Rxcsum & 0xff);
        sum = start < data.Length ? (ushort)~NetChecksum.Sum(data[start..]) : (ushort)0xffff;
        if ((_chip.Rxcsum & (SumIp | SumTcpUdp)) == 0) return;
        var header = EthernetHeader + (isTagged ? TagBytes : 0);
        var type = BinaryPrimitives.ReadUInt16BigEndian(data[(header - 2)..]);
        var ip = data[header..];
        byte protocol;
        int headerBytes, length;
        var isIpv6 = type == 0x86dd;
        if (type == 0x0800)
        {
            headerBytes = (ip[0] & 0xf) * 4;
            length = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
            if (ip[0] >> 4 != 4 || headerBytes < 20 || length < headerBytes || length > ip.Length) return;
            protocol = ip[9];
            if ((_chip.Rxcsum & SumIp) != 0)
            {
                status = StatusIpSum;
                if (NetChecksum.Sum(ip[..headerBytes]) != 0xffff) errors |= ErrorIpSum;
            }

            if ((ip[6] & 0x3f) != 0 || ip[7] != 0) return;
        }
        else if (isIpv6 && ip.Length >= 40 && ip[0] >> 4 == 6)
        {
            headerBytes = 40;
            length = headerBytes + BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
            if (length > ip.Length) return;
            protocol = ip[6];
        }
        else
        {
            return;
        }

        if ((_chip.Rxcsum & SumTcpUdp) == 0) return;
        var body = ip[headerBytes..length];
        if (protocol == NetHeaders.Tcp ? body.Length < 20 : protocol != NetHeaders.Udp || body.Length < 8 || (body[6] | body[7]) == 0) return;
        status = (byte)((status & ~StatusIgnoreSums) | StatusTcpSum);
        if (!frame.IsValid && NetChecksum.Fold(NetChecksum.Add(NetChecksum.PseudoSum(ip, isIpv6, protocol, body.Length), body)) != 0xffff) errors |= ErrorTcpSum;
    }

    private void CountGood(ReadOnlySpan<byte> frame, int bytesWithFcs)
    {
        _chip.Count(0x4074);
        _chip.Count(0x405c + E1000Transmit.SizeClass(bytesWithFcs));
        if ((frame[0] & 1) != 0) _chip.Count(IsBroadcast(frame) ? 0x4078 : 0x407c);
        _chip.Count64(0x4088, (uint)bytesWithFcs);
        CountTotal(bytesWithFcs - FcsBytes);
    }

    private void CountTotal(int bytes)
    {
        _chip.Count(0x40d0);
        _chip.Count64(0x40c0, (uint)(bytes + FcsBytes));
    }

    /// <summary>RDMT0 when the free descriptors fall to their threshold, RXT0 now or when the delay is over.</summary>
    private void Tell(uint freeBefore, uint free, uint count, int bytes)
    {
        var threshold = count >> (int)(((_chip.Rctl >> 8) & 3) + 1);
        uint causes = 0;
        if (freeBefore > threshold && free <= threshold) causes |= E1000.IcrReceiveLow;
        if (bytes <= _chip.Rsrpd) causes |= E1000.IcrSmallPacket;
        if (_chip.Rdtr == 0)
        {
            causes |= E1000.IcrReceived;
        }
        else
        {
            var now = _clock.Now;
            if (!_delay.IsArmed) _delayEnd = _chip.Radv != 0 ? now + (_chip.Radv * DelayUnit) : VmTimer.Never;
            _delay.Arm(Math.Min(_delayEnd, now + (_chip.Rdtr * DelayUnit)));
        }

        if (causes != 0) _chip.Raise(causes);
    }

    private void DelayOver() => _chip.Raise(E1000.IcrReceived);

    public void WriteDelay(uint value)
    {
        _chip.Rdtr = value & 0xffff;
        if (((value & DelayFlush) == 0 && _chip.Rdtr != 0) || !_delay.IsArmed) return;
        _delay.Cancel();
        DelayOver();
    }

    public void Stop()
    {
        _delay.Cancel();
        _delayEnd = 0;
    }

    public void State(StateVisitor s)
    {
        s.I64("delay-end", ref _delayEnd);
        s.Timer(_delay);
    }
}
