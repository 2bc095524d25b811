using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Core.Time;
using static XenDM.Devices.Network.Ethernet;

namespace XenDM.Devices.Network;

/// <summary>
/// The transmitter of the 82540EM: fetches descriptors from TDH to TDT, gathers a packet, puts checksums and a VLAN tag in, cuts TCP into
/// segments, and sends. Data sheet: Intel 317453, sections 3.3 to 3.5. What the backend can do as well as the chip, with the same bytes on
/// the wire, is left to it: checksums of TCP and UDP, and segments of TCP with plain headers.
/// </summary>
internal sealed class E1000Transmit : IStateful
{
    internal const uint TctlEnable = 1 << 1;
    private const uint TctlPad = 1 << 3;

    private const int DescriptorBytes = 16;
    private const byte CommandEnd = 1 << 0;
    private const byte CommandFcs = 1 << 1;
    private const byte CommandChecksum = 1 << 2;
    private const byte CommandSegment = 1 << 2;
    private const byte CommandReport = 3 << 3;
    private const byte CommandExtended = 1 << 5;
    private const byte CommandVlan = 1 << 6;
    private const byte CommandDelay = 1 << 7;
    private const byte OptionIp = 1 << 0;
    private const byte OptionTcpUdp = 1 << 1;
    private const int TypeContext = 0;
    private const int TypeData = 1;
    private const byte StatusDone = 1;

    /// <summary>Places of a context descriptor: offsets of the sums, TUCMD, HDRLEN and MSS.</summary>
    private const int IpStart = 0, IpAt = 1, IpEnd = 2, TcpStart = 4, TcpAt = 5, TcpEnd = 6, ContextCommand = 11, HeaderLength = 13, SegmentSize = 14;
    private const byte ContextIsTcp = 1 << 0;
    private const byte ContextIsIpv4 = 1 << 1;
    private const byte ContextSegments = 1 << 2;

    /// <summary>The packet buffer: the largest packet that is not cut.</summary>
    private const int MaxPacket = 16288;
    private const int MaxHeader = 255;
    private const int MaxBytes = 0x10000 + MaxHeader;
    private const int MaxIpPacket = 0xffff;

    /// <summary>Descriptors, and bytes in and out, that one doorbell moves; the rest follows from a timer.</summary>
    private const int DescriptorBudget = 4096;
    private const int WorkBudget = 2 << 20;

    /// <summary>Nanoseconds until the rest follows: a ring that the guest makes endless leaves time for others.</summary>
    private const long ResumeDelay = 100_000;

    /// <summary>Smaller segments are cut here, where the work is bounded.</summary>
    private const int MinLeftSegment = 128;

    /// <summary>Unit of TIDV and TADV in nanoseconds.</summary>
    private const long DelayUnit = 1024;
    private const uint DelayFlush = 1u << 31;

    private enum Stage : byte
    {
        /// <summary>The packet is not whole.</summary>
        Gather,

        /// <summary>It is being sent; its last descriptor is at TDH.</summary>
        Send,
    }

    private readonly E1000 _chip;
    private readonly INetBackend? _backend;
    private readonly IVmClock _clock;
    private readonly VmTimer _resume;
    private readonly VmTimer _delay;
    [Glue("its packet, and the context of its bytes, are visited")]
    private readonly byte[] _buffer = new byte[TagBytes + MaxBytes];
    [Glue("a segment that is made anew for each try to send it")]
    private readonly byte[] _segment = new byte[TagBytes + MaxPacket];
    private readonly byte[] _context = new byte[DescriptorBytes];
    private readonly byte[] _segmentContext = new byte[DescriptorBytes];
    private Stage _stage;
    private int _length;
    private bool _isStarted;
    private bool _isTooLong;
    private bool _segments;
    private byte _options;
    private byte _checksumAt;
    private byte _checksumStart;
    private bool _hasTag;
    private ushort _tag;
    private int _sent;
    private int _segmentNumber;
    private long _delayEnd;

    /// <summary>Sums, padding and tag are in.</summary>
    private bool _isPrepared;

    /// <summary>The backend cuts the segments.</summary>
    private bool _undone;
    [Glue("visited field by field")]
    private NetFrame _frame;
    [Glue("counts within one doorbell")]
    private int _work;
    [Glue("work is going on: a frame that comes back must not start it again")]
    private bool _isBusy;

    public E1000Transmit(E1000 chip, INetBackend? backend, IVmClock clock)
    {
        _chip = chip;
        _backend = backend;
        _clock = clock;
        _resume = clock.CreateTimer(chip.Id + ".tx", Kick);
        _delay = clock.CreateTimer(chip.Id + ".tidv", DelayOver);
    }

    /// <summary>Works on the ring, as far as one doorbell may.</summary>
    public void Kick()
    {
        if (_isBusy) return;
        _isBusy = true;
        Run();
        _isBusy = false;
    }

    private void Run()
    {
        var count = _chip.Tdlen / DescriptorBytes;
        if ((_chip.Tctl & TctlEnable) == 0 || !_chip.Memory.Enabled || _chip.Tdt >= count) return;
        if (_chip.Tdh >= count) _chip.Tdh = 0;
        if (_chip.Tdh == _chip.Tdt) return;
        uint causes = 0;
        var delayed = false;
        _work = 0;
        Span<byte> descriptor = stackalloc byte[DescriptorBytes];
        for (var done = 0; _chip.Tdh != _chip.Tdt; done++)
        {
            if (done == DescriptorBudget || _work >= WorkBudget)
            {
                _resume.ArmAfter(ResumeDelay);
                break;
            }

            var place = (((ulong)_chip.Tdbah << 32) | _chip.Tdbal) + (_chip.Tdh * DescriptorBytes);
            if (_chip.Memory.TryRead(place, descriptor))
            {
                if (_stage == Stage.Gather) Take(descriptor);
                if (_stage == Stage.Send && !Send()) break;
                var command = descriptor[11];
                if ((command & CommandReport) != 0)
                {
                    // The status is the low half of its byte; what the driver left beside it stays.
                    var status = (byte)((descriptor[12] & 0xf0) | StatusDone);
                    _chip.Memory.TryWrite(place + 12, new ReadOnlySpan<byte>(in status));
                    if ((command & CommandDelay) != 0 && (_chip.Tidv & 0xffff) != 0) delayed = true;
                    else causes |= E1000.IcrTransmitted;
                }
            }

            if (++_chip.Tdh == count) _chip.Tdh = 0;
        }

        if (_chip.Tdh == _chip.Tdt) causes |= E1000.IcrTransmitEmpty;
        if ((causes & E1000.IcrTransmitted) != 0) StopDelay();
        else if (delayed) StartDelay();
        if (causes != 0) _chip.Raise(causes);
    }

    /// <summary>Takes what a descriptor brings.</summary>
    private void Take(ReadOnlySpan<byte> descriptor)
    {
        var command = descriptor[11];
        var word = BinaryPrimitives.ReadUInt32LittleEndian(descriptor[8..]);
        var isExtended = (command & CommandExtended) != 0;
        var type = (int)(word >> 20) & 0xf;
        if (isExtended && type != TypeData)
        {
            if (type == TypeContext) descriptor.CopyTo((command & ContextSegments) != 0 ? _segmentContext : _context);
            return;
        }

        if (!_isStarted)
        {
            _isStarted = true;
            _segments = isExtended && (command & CommandSegment) != 0;
            _options = isExtended ? descriptor[13] : (byte)0;
            _checksumAt = _checksumStart = 0;
        }

        var length = (int)(isExtended ? word & 0xfffff : word & 0xffff);
        if (length > (_segments ? MaxBytes : MaxPacket) - _length)
        {
            _isTooLong = true;
            length = 0;
        }

        // Where there is no RAM the bus reads ff, and the frame goes out with it.
        _chip.Memory.TryRead(BinaryPrimitives.ReadUInt64LittleEndian(descriptor), _buffer.AsSpan(TagBytes + _length, length));
        _length += length;
        _work += length;
        if ((command & CommandVlan) != 0 && (_chip.Ctrl & E1000.CtrlVlanMode) != 0)
        {
            _hasTag = true;
            _tag = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[14..]);
        }

        if (!isExtended && (command & CommandChecksum) != 0) (_checksumAt, _checksumStart) = (descriptor[10], descriptor[13]);
        if ((command & CommandEnd) == 0) return;

        // Without IFCS the driver brought a checksum of the frame along.
        if ((command & CommandFcs) == 0 && !_segments) _length = Math.Max(0, _length - FcsBytes);
        _stage = Stage.Send;
    }

    /// <summary>Sends the packet that is gathered, or the rest of it.</summary>
    /// <returns>False when the backend wants to wait; it calls.</returns>
    private bool Send()
    {
        if (!_isTooLong && _length >= EthernetHeader)
        {
            if (!(_segments ? SendSegments() : SendWhole())) return false;
        }

        Drop();
        return true;
    }

    private void Drop()
    {
        _stage = Stage.Gather;
        _length = _sent = _segmentNumber = 0;
        _isStarted = _isTooLong = _segments = _hasTag = _isPrepared = _undone = false;
        _frame = default;
    }

    private bool SendWhole()
    {
        if (!_isPrepared)
        {
            var packet = _buffer.AsSpan(TagBytes, _length);
            _frame = default;
            if ((_options & OptionIp) != 0) FillIp(packet, _context);
            if ((_options & OptionTcpUdp) != 0 && !CanLeaveChecksum(packet)) Fill(packet, _context[TcpStart], _context[TcpAt], U16(_context, TcpEnd));
            if (_checksumAt != 0) Fill(packet, _checksumStart, _checksumAt, 0);
            _length = Complete(_buffer, _length);
            _isPrepared = true;
        }

        return Emit(_buffer, _length);
    }

    /// <summary>The sum of TCP or UDP, from its header to the end of the packet, may be left to the backend.</summary>
    private bool CanLeaveChecksum(ReadOnlySpan<byte> packet)
    {
        int start = _context[TcpStart], at = _context[TcpAt];
        if (_hasTag || _chip.IsLooped || U16(_context, TcpEnd) != 0 || _context[IpStart] != EthernetHeader || packet.Length < EthernetHeader + 20) return false;
        var ip = packet[EthernetHeader..];
        var type = BinaryPrimitives.ReadUInt16BigEndian(packet[Addresses..]);
        byte protocol;
        if (type == 0x0800 && ip[0] >> 4 == 4 && start == EthernetHeader + ((ip[0] & 0xf) * 4) && (ip[6] & 0x3f) == 0 && ip[7] == 0) protocol = ip[9];
        else if (type == 0x86dd && ip[0] >> 4 == 6 && start == EthernetHeader + 40) protocol = ip[6];
        else return false;
        if (!((protocol == NetHeaders.Tcp && at == start + 16) || (protocol == NetHeaders.Udp && at == start + 6))) return false;
        if (packet.Length < start + (protocol == NetHeaders.Tcp ? 20 : 8)) return false;
        _frame = new NetFrame { NeedsChecksum = true, ChecksumStart = (ushort)start, ChecksumOffset = (ushort)(at - start) };
        return true;
    }

    private bool SendSegments()
    {
        var header = (int)_segmentContext[HeaderLength];
        var size = (int)U16(_segmentContext, SegmentSize);
        if (header < EthernetHeader || header > _length || size == 0 || header + size > MaxPacket) return true;
        if (!_isPrepared)
        {
            _frame = default;
            _undone = CanLeaveSegments(header, size);
            _isPrepared = true;
        }

        if (_undone)
        {
            _work += _length;
            if (_backend is not null && !_backend.Send(_frame, _buffer.AsSpan(TagBytes, _length))) return false;
            _chip.Count(0x40f8);
            CountSent(_buffer.AsSpan(TagBytes, _length), (_length - header + size - 1) / size, header);
            return true;
        }

        // At least one segment, should there be headers alone.
        do
        {
            var payload = Math.Min(size, _length - header - _sent);
            var segment = _segment.AsSpan(TagBytes, header + payload);
            _buffer.AsSpan(TagBytes, header).CopyTo(segment);
            _buffer.AsSpan(TagBytes + header + _sent, payload).CopyTo(segment[header..]);
            PatchHeaders(segment, isLast: _sent + payload >= _length - header);
            if (!Emit(_segment, Complete(_segment, segment.Length))) return false;
            _sent += payload;
            _segmentNumber++;
            if (_work < WorkBudget || _sent >= _length - header) continue;
            _resume.ArmAfter(ResumeDelay);
            return false;
        }
        while (_sent < _length - header);
        _chip.Count(0x40f8);
        return true;
    }

    /// <summary>
    /// Ethernet, IP and TCP are where they stand without VLAN tags and tunnels, all sums are wanted, and no flag is set that a kernel
    /// treats otherwise than this chip (CWR). The headers are then completed as for the whole packet.
    /// </summary>
    private bool CanLeaveSegments(int header, int size)
    {
        const byte cwr = 0x80;
        var context = _segmentContext;
        int start = context[TcpStart], payload = _length - header;
        var isIpv4 = (context[ContextCommand] & ContextIsIpv4) != 0;
        var packet = _buffer.AsSpan(TagBytes, _length);
        var wanted = isIpv4 ? OptionIp | OptionTcpUdp : OptionTcpUdp;
        if (_hasTag || _chip.IsLooped || payload <= size || size < MinLeftSegment || (_options & wanted) != wanted || (context[ContextCommand] & ContextIsTcp) == 0) return false;
        if (context[IpStart] != EthernetHeader || U16(context, TcpEnd) != 0 || context[TcpAt] != start + 16 || header < start + 20 || header >= _length) return false;
        var ip = packet[EthernetHeader..];
        if (ip.Length > MaxIpPacket || (packet[start + 12] >> 4) * 4 != header - start || (packet[start + 13] & cwr) != 0) return false;
        var type = BinaryPrimitives.ReadUInt16BigEndian(packet[Addresses..]);
        if (ip.Length < (isIpv4 ? 20 : 40)) return false;

        // The driver's sum lacks the length; another sum than the right one would show on the wire.
        var pseudo = NetChecksum.Fold(NetChecksum.PseudoSum(ip, !isIpv4, NetHeaders.Tcp, _length - start));
        if ((BinaryPrimitives.ReadUInt16BigEndian(packet[(start + 16)..]) + _length - start - pseudo) % 0xffff != 0) return false;
        if (isIpv4)
        {
            if (type != 0x0800 || ip[0] >> 4 != 4 || (ip[0] & 0xf) < 5 || start != EthernetHeader + ((ip[0] & 0xf) * 4) || ip[9] != NetHeaders.Tcp) return false;
            if ((ip[6] & 0x3f) != 0 || ip[7] != 0 || context[IpAt] != EthernetHeader + 10 || U16(context, IpEnd) != start - 1) return false;
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
            NetChecksum.PutIpv4(ip[..(start - EthernetHeader)]);
        }
        else
        {
            if (type != 0x86dd || ip[0] >> 4 != 6 || start != EthernetHeader + 40 || ip[6] != NetHeaders.Tcp) return false;
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(ip.Length - 40));
        }

        BinaryPrimitives.WriteUInt16BigEndian(packet[(start + 16)..], pseudo);
        _frame = new NetFrame
        {
            NeedsChecksum = true,
            ChecksumStart = (ushort)start,
            ChecksumOffset = 16,
            Segmentation = isIpv4 ? NetSegmentation.Tcp4 : NetSegmentation.Tcp6,
            SegmentBytes = (ushort)size,
            HeaderBytes = (ushort)header,
        };
        return true;
    }

    /// <summary>What differs from segment to segment: lengths, the identification, the sequence number, FIN and PSH, and the sums.</summary>
    private void PatchHeaders(Span<byte> segment, bool isLast)
    {
        const byte finPush = 0x09;
        var context = _segmentContext;
        int ip = context[IpStart], start = context[TcpStart];
        if ((context[ContextCommand] & ContextIsIpv4) != 0)
        {
            if (ip + 6 <= segment.Length)
            {
                BinaryPrimitives.WriteUInt16BigEndian(segment[(ip + 2)..], (ushort)(segment.Length - ip));
                Add16(segment[(ip + 4)..], (ushort)_segmentNumber);
            }
        }
        else if (ip + 6 <= segment.Length)
        {
            BinaryPrimitives.WriteUInt16BigEndian(segment[(ip + 4)..], (ushort)(segment.Length - ip - 40));
        }

        var tail = segment.Length - start;
        if ((context[ContextCommand] & ContextIsTcp) == 0)
        {
            if (tail >= 6) BinaryPrimitives.WriteUInt16BigEndian(segment[(start + 4)..], (ushort)tail);
        }
        else if (tail >= 14)
        {
            var sequence = segment[(start + 4)..];
            BinaryPrimitives.WriteUInt32BigEndian(sequence, BinaryPrimitives.ReadUInt32BigEndian(sequence) + (uint)_sent);
            if (!isLast) segment[start + 13] &= unchecked((byte)~finPush);
        }

        if ((_options & OptionTcpUdp) != 0)
        {
            // The driver's sum of the pseudo header lacks the length.
            int at = context[TcpAt];
            if (tail > 0 && at + 2 <= segment.Length)
            {
                var field = segment[at..];
                BinaryPrimitives.WriteUInt16BigEndian(field, NetChecksum.Fold((ulong)BinaryPrimitives.ReadUInt16BigEndian(field) + (uint)tail));
            }

            Fill(segment, start, at, U16(context, TcpEnd));
        }

        if ((_options & OptionIp) != 0) FillIp(segment, context);
    }

    /// <summary>Puts the complement of the sum from <paramref name="start"/> to <paramref name="end"/> (0: to the end) in.</summary>
    private static void Fill(Span<byte> packet, int start, int at, int end)
    {
        if (end == 0 || end >= packet.Length) end = packet.Length - 1;
        if (start > end || at + 2 > packet.Length) return;
        BinaryPrimitives.WriteUInt16BigEndian(packet[at..], (ushort)~NetChecksum.Sum(packet[start..(end + 1)]));
    }

    private static void FillIp(Span<byte> packet, byte[] context)
    {
        int at = context[IpAt];
        if (at + 2 <= packet.Length) packet[at] = packet[at + 1] = 0;
        Fill(packet, context[IpStart], at, U16(context, IpEnd));
    }

    /// <summary>The last steps for a frame: padding, and the tag in front of which the addresses move.</summary>
    /// <param name="buffer">The frame stands behind room for a tag.</param>
    /// <returns>Its length, without the tag.</returns>
    private int Complete(byte[] buffer, int length)
    {
        if ((_chip.Tctl & TctlPad) != 0 && length < MinFrame)
        {
            buffer.AsSpan(TagBytes + length, MinFrame - length).Clear();
            length = MinFrame;
        }

        if (_hasTag) InsertTag(buffer, (ushort)_chip.VlanType, _tag);
        return length;
    }

    /// <summary>Sends a frame, to the backend or back.</summary>
    private bool Emit(byte[] buffer, int length)
    {
        const int overhead = 256;
        var frame = _hasTag ? buffer.AsSpan(0, TagBytes + length) : buffer.AsSpan(TagBytes, length);
        _work += length + overhead;
        if (_chip.IsLooped) _chip.Loop(frame);
        else if (_backend is not null && !_backend.Send(_frame, frame)) return false;
        CountSent(frame, 1, 0);
        return true;
    }

    /// <param name="frames">Frames on the wire.</param>
    /// <param name="header">Bytes that each of them but the first repeats.</param>
    private void CountSent(ReadOnlySpan<byte> frame, int frames, int header)
    {
        var total = (uint)(frame.Length + (header * (frames - 1)) + (frames * FcsBytes));
        _chip.Count64(0x4090, total);
        _chip.Count64(0x40c8, total);
        for (var i = 0; i < frames; i++)
        {
            _chip.Count(0x4080);
            _chip.Count(0x40d4);
            _chip.Count(0x40d8 + SizeClass(frames == 1 ? frame.Length + FcsBytes : (int)(total / (uint)frames)));
            if ((frame[0] & 1) != 0) _chip.Count(IsBroadcast(frame) ? 0x40f4 : 0x40f0);
        }
    }

    /// <summary>Offset of the counter for a length, from that of the shortest on: 64, 127, 255, 511, 1023, more.</summary>
    internal static int SizeClass(int bytesWithFcs) => bytesWithFcs switch { <= 64 => 0, < 128 => 4, < 256 => 8, < 512 => 12, < 1024 => 16, _ => 20 };

    private static void Add16(Span<byte> field, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(field, (ushort)(BinaryPrimitives.ReadUInt16BigEndian(field) + value));

    private static ushort U16(byte[] bytes, int at) => (ushort)(bytes[at] | (bytes[at + 1] << 8));

    /// <summary>TIDV counts from the last packet, TADV from the first one that was not told yet.</summary>
    private void StartDelay()
    {
        var now = _clock.Now;
        if (!_delay.IsArmed) _delayEnd = (_chip.Tadv & 0xffff) != 0 ? now + (_chip.Tadv * DelayUnit) : VmTimer.Never;
        _delay.Arm(Math.Min(_delayEnd, now + ((_chip.Tidv & 0xffff) * DelayUnit)));
    }

    private void StopDelay()
    {
        if (_delay.IsArmed) _delay.Cancel();
    }

    private void DelayOver() => _chip.Raise(E1000.IcrTransmitted);

    public void WriteDelay(uint value)
    {
        _chip.Tidv = value & 0xffff;
        if ((value & DelayFlush) == 0 || !_delay.IsArmed) return;
        StopDelay();
        DelayOver();
    }

    /// <summary>A reset, or the function is gone.</summary>
    public void Stop()
    {
        _resume.Cancel();
        _delay.Cancel();
        _delayEnd = 0;
        _context.AsSpan().Clear();
        _segmentContext.AsSpan().Clear();
        _options = _checksumAt = _checksumStart = 0;
        _tag = 0;
        Drop();
    }

    public void State(StateVisitor s)
    {
        s.Bytes("context", _context);
        s.Bytes("segment-context", _segmentContext);
        s.Enum("stage", ref _stage);
        PacketState(s, _buffer, ref _length, MaxBytes);
        s.Bool("started", ref _isStarted);
        s.Bool("too-long", ref _isTooLong);
        s.Bool("segments", ref _segments);
        s.U8("options", ref _options);
        s.U8("checksum.at", ref _checksumAt);
        s.U8("checksum.start", ref _checksumStart);
        s.Bool("has-tag", ref _hasTag);
        s.U16("tag", ref _tag);
        s.I32("sent", ref _sent, 0, MaxBytes);
        s.I32("segment", ref _segmentNumber, 0, MaxBytes);
        s.Bool("prepared", ref _isPrepared);
        s.Bool("undone", ref _undone);
        FrameState(s, ref _frame);
        s.I64("delay-end", ref _delayEnd);
        s.Timer(_delay);
    }

    /// <summary>A packet that waited for the old backend goes to the new one; a ring that was left half done goes on.</summary>
    public void Restored() => _resume.ArmAfter(0);
}
