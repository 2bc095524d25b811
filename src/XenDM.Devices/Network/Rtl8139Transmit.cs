using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Core.Time;
using static XenDM.Devices.Network.Ethernet;

namespace XenDM.Devices.Network;

/// <summary>
/// The transmitter of the RTL8139C+: four descriptors in registers (C mode), or two rings of descriptors in memory (C+ mode) with checksums of
/// IPv4, TCP and UDP, VLAN tags, and large send. Data sheet: RealTek RTL8139C(L)+ 1.6, sections 6.5, 6.33 and 9.2. The chip finds the headers
/// itself; where a header does not say what the descriptor claims, the frame goes out as it is. What the backend can do as well, with the
/// same bytes on the wire, is left to it.
/// </summary>
internal sealed class Rtl8139Transmit : IStateful
{
    public const int OldDescriptors = 4;

    /// <summary>The chip is done with the buffer.</summary>
    public const uint TsdOwn = 1 << 13;
    private const uint TsdOk = 1 << 15;
    private const uint TsdSize = 0x1fff;
    private const uint TsdWritable = 0x003f_1fff | TsdOwn;

    private const int DescriptorBytes = 16;
    private const uint Own = 1u << 31;
    private const uint End = 1 << 30;
    private const uint First = 1 << 29;
    private const uint Last = 1 << 28;
    private const uint LargeSend = 1 << 27;
    private const uint IpSum = 1 << 18;
    private const uint UdpSum = 1 << 17;
    private const uint TcpSum = 1 << 16;
    private const uint Length = 0xffff;
    private const uint Errors = 0x03ff_0000;
    private const uint TagInsert = 1 << 17;
    private const int SegmentShift = 16;
    private const uint SegmentMask = 0x7ff;

    /// <summary>A ring without an end bit ends here.</summary>
    private const int RingLength = 64;

    private const int MaxIpPacket = 0xffff;
    private const int MaxBytes = EthernetHeader + MaxIpPacket;
    private const int MaxPacket = 8192;

    /// <summary>Descriptors, and bytes in and out, that one doorbell moves; the rest follows from a timer.</summary>
    private const int DescriptorBudget = 1024;
    private const int WorkBudget = 2 << 20;

    /// <summary>Nanoseconds until the rest follows: a ring that the guest makes endless leaves time for others.</summary>
    private const long ResumeDelay = 100_000;

    /// <summary>Smaller segments are cut here, where the work is bounded.</summary>
    private const int MinLeftSegment = 128;

    private enum Stage : byte
    {
        /// <summary>The packet is not whole.</summary>
        Gather,

        /// <summary>It is being sent; its last descriptor is the current one.</summary>
        Send,
    }

    private readonly Rtl8139 _chip;
    private readonly INetBackend? _backend;
    private readonly VmTimer _resume;
    [Glue("its packet is visited")]
    private readonly byte[] _buffer = new byte[TagBytes + MaxBytes];
    [Glue("a segment that is made anew for each try to send it")]
    private readonly byte[] _segment = new byte[TagBytes + MaxPacket];
    private Stage _stage;
    private int _length;
    private bool _isTooLong;
    private bool _inPacket;
    private bool _isHigh;
    private uint _options;
    private uint _tag;
    private int _sent;
    private int _segmentNumber;
    private int _oldIndex;
    private int _normalIndex;
    private int _highIndex;
    private bool _normalPolled;
    private bool _highPolled;

    /// <summary>Sums and tag are in.</summary>
    private bool _isPrepared;

    /// <summary>The backend cuts the segments.</summary>
    private bool _undone;
    [Glue("visited field by field")]
    private NetFrame _frame;
    private ulong _ok;
    [Glue("counts within one doorbell")]
    private int _work;
    [Glue("work is going on: a frame that comes back must not start it again")]
    private bool _isBusy;

    public Rtl8139Transmit(Rtl8139 chip, INetBackend? backend, IVmClock clock)
    {
        _chip = chip;
        _backend = backend;
        _resume = clock.CreateTimer(chip.Id + ".tx", Kick);
    }

    /// <summary>TSAD: the status of the four descriptors in one register, as OWN in 3:0 and TOK in 15:12.</summary>
    public uint Summary()
    {
        uint value = 0;
        for (var i = 0; i < OldDescriptors; i++)
        {
            if ((_chip.Tsd[i] & TsdOwn) != 0) value |= 1u << i;
            if ((_chip.Tsd[i] & TsdOk) != 0) value |= 0x1000u << i;
        }

        return value;
    }

    /// <summary>C mode: a size with OWN clear hands a descriptor over.</summary>
    public void WriteOld(int index, uint value)
    {
        _chip.Tsd[index] = value & TsdWritable;
        Kick();
    }

    /// <summary>TPPoll.</summary>
    public void Poll(bool high, bool normal)
    {
        _highPolled |= high;
        _normalPolled |= normal;
        Kick();
    }

    /// <summary>Sends what is handed over, as far as one doorbell may.</summary>
    public void Kick()
    {
        if (_isBusy || (_chip.Cr & Rtl8139.CrTransmit) == 0 || !_chip.Memory.Enabled) return;
        _isBusy = true;
        _work = 0;
        if (_chip.IsPlusTransmit) RunRings();
        else RunOld();
        _isBusy = false;
    }

    private void RunOld()
    {
        for (var n = 0; n < OldDescriptors && (_chip.Tsd[_oldIndex] & TsdOwn) == 0; n++)
        {
            if (_stage == Stage.Gather)
            {
                _length = (int)(_chip.Tsd[_oldIndex] & TsdSize);
                _options = 0;
                _tag = 0;
                _chip.Memory.TryRead(_chip.Tsad[_oldIndex], _buffer.AsSpan(TagBytes, _length));
                _stage = Stage.Send;
            }

            if (!Send()) return;
            _chip.Tsd[_oldIndex] |= TsdOwn | TsdOk;
            _oldIndex = (_oldIndex + 1) % OldDescriptors;
            _chip.Raise(Rtl8139.IsrTransmitted);
        }
    }

    /// <summary>The high priority ring goes first, but never into the middle of a packet.</summary>
    private void RunRings()
    {
        for (var done = 0; _normalPolled || _highPolled; done++)
        {
            if (done == DescriptorBudget || _work >= WorkBudget)
            {
                _resume.ArmAfter(ResumeDelay);
                return;
            }

            if (!_inPacket && _stage == Stage.Gather) _isHigh = _highPolled;
            var result = _isHigh ? Step(ref _highIndex, _chip.Tsad[2], _chip.Tsad[3]) : Step(ref _normalIndex, _chip.Tsad[0], _chip.Tsad[1]);
            if (result is null) return;
            if (result.Value) continue;
            if (_isHigh) _highPolled = false;
            else _normalPolled = false;
            _chip.Raise(Rtl8139.IsrNoTransmit);
            if (_inPacket) return;
        }
    }

    /// <returns>True when a descriptor is done, false when the ring has none, null when the backend wants to wait.</returns>
    private bool? Step(ref int index, uint low, uint high)
    {
        var place = (((ulong)high << 32) | low) + (ulong)(index * DescriptorBytes);
        Span<byte> descriptor = stackalloc byte[DescriptorBytes];
        if (!_chip.Memory.TryRead(place, descriptor)) return false;
        var options = BinaryPrimitives.ReadUInt32LittleEndian(descriptor);
        if (_stage == Stage.Gather)
        {
            if ((options & Own) == 0) return false;
            Take(descriptor, options);
        }

        if (_stage == Stage.Send)
        {
            if (!Send()) return null;
            _chip.Raise(Rtl8139.IsrTransmitted);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(descriptor, options & ~(Own | Errors));
        _chip.Memory.TryWrite(place, descriptor[..4]);
        index = (options & End) != 0 || index + 1 >= RingLength ? 0 : index + 1;
        return true;
    }

    private void Take(ReadOnlySpan<byte> descriptor, uint options)
    {
        if ((options & First) != 0)
        {
            Drop();
            _inPacket = true;
            _options = options;
            _tag = BinaryPrimitives.ReadUInt32LittleEndian(descriptor[4..]);
        }

        // Buffers that no first one came before belong to nothing.
        if (!_inPacket) return;
        var length = (int)(options & Length);
        if (length > ((_options & LargeSend) != 0 ? MaxBytes : MaxPacket) - _length)
        {
            _isTooLong = true;
            length = 0;
        }

        _chip.Memory.TryRead(BinaryPrimitives.ReadUInt64LittleEndian(descriptor[8..]), _buffer.AsSpan(TagBytes + _length, length));
        _length += length;
        _work += length;
        if ((options & Last) != 0) _stage = Stage.Send;
    }

    /// <summary>Sends the packet that is gathered, or the rest of it.</summary>
    /// <returns>False when it has to wait.</returns>
    private bool Send()
    {
        if (!_isTooLong && _length >= EthernetHeader && !((_options & LargeSend) != 0 ? SendLarge() : SendWhole())) return false;
        _ok++;
        Drop();
        return true;
    }

    private void Drop()
    {
        _stage = Stage.Gather;
        _length = _sent = _segmentNumber = 0;
        _isTooLong = _inPacket = _isPrepared = _undone = false;
        _frame = default;
    }

    private bool HasTag => (_tag & TagInsert) != 0;

    private bool SendWhole()
    {
        if (!_isPrepared)
        {
            var packet = _buffer.AsSpan(TagBytes, _length);
            _frame = default;
            if ((_options & (IpSum | TcpSum | UdpSum)) != 0 && FindIpv4(packet, out var header, out var length))
            {
                var ip = packet.Slice(EthernetHeader, length);
                if ((_options & IpSum) != 0) NetChecksum.PutIpv4(ip[..header]);
                if ((ip[6] & 0x3f) == 0 && ip[7] == 0) SumBody(ip, header, isWhole: EthernetHeader + length == packet.Length);
            }

            Tag(_buffer);
            _isPrepared = true;
        }

        return Emit(_buffer, _length);
    }

    /// <summary>The checksum of TCP or UDP, or its pseudo header where the backend goes on.</summary>
    /// <param name="isWhole">Nothing stands behind the packet in the frame.</param>
    private void SumBody(Span<byte> ip, int header, bool isWhole)
    {
        var body = ip[header..];
        int at;
        if ((_options & TcpSum) != 0 && ip[9] == NetHeaders.Tcp && body.Length >= 20) at = 16;
        else if ((_options & UdpSum) != 0 && ip[9] == NetHeaders.Udp && body.Length >= 8) at = 6;
        else return;
        BinaryPrimitives.WriteUInt16BigEndian(body[at..], NetChecksum.Fold(NetChecksum.PseudoSum(ip, false, ip[9], body.Length)));
        if (isWhole && !HasTag && !_chip.IsLooped)
        {
            _frame = new NetFrame { NeedsChecksum = true, ChecksumStart = (ushort)(EthernetHeader + header), ChecksumOffset = (ushort)at };
            return;
        }

        var sum = (ushort)~NetChecksum.Sum(body);

        // For UDP a sum of 0 would mean that there is none.
        BinaryPrimitives.WriteUInt16BigEndian(body[at..], sum == 0 && at == 6 ? (ushort)0xffff : sum);
    }

    /// <summary>An IPv4 packet whose lengths lie within the frame.</summary>
    private static bool FindIpv4(ReadOnlySpan<byte> packet, out int header, out int length)
    {
        header = length = 0;
        if (packet.Length < EthernetHeader + 20 || packet[Addresses] != 0x08 || packet[Addresses + 1] != 0x00) return false;
        var ip = packet[EthernetHeader..];
        header = (ip[0] & 0xf) * 4;
        length = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
        return ip[0] >> 4 == 4 && header >= 20 && length >= header && length <= ip.Length;
    }

    private bool SendLarge()
    {
        const byte cwr = 0x80;
        var size = (int)((_options >> SegmentShift) & SegmentMask);
        var packet = _buffer.AsSpan(TagBytes, _length);
        var ip = packet[EthernetHeader..];

        // The length in the IP header counts for nothing: each segment gets its own.
        if (ip.Length < 40 || packet[Addresses] != 0x08 || packet[Addresses + 1] != 0 || ip[0] >> 4 != 4 || ip[9] != NetHeaders.Tcp) return true;
        var header = (ip[0] & 0xf) * 4;
        if (header < 20 || ip.Length < header + 20) return true;
        var all = EthernetHeader + header + ((ip[header + 12] >> 4) * 4);
        if (all < EthernetHeader + header + 20 || all > _length || size == 0) return true;
        var payload = _length - all;
        if (!_isPrepared)
        {
            _isPrepared = true;
            _frame = default;
            _undone = payload > size && size >= MinLeftSegment && !HasTag && !_chip.IsLooped && (ip[header + 13] & cwr) == 0 && (ip[6] & 0x3f) == 0 && ip[7] == 0;
            if (_undone)
            {
                BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
                NetChecksum.PutIpv4(ip[..header]);
                BinaryPrimitives.WriteUInt16BigEndian(ip[(header + 16)..], NetChecksum.Fold(NetChecksum.PseudoSum(ip, false, NetHeaders.Tcp, ip.Length - header)));
                _frame = new NetFrame
                {
                    NeedsChecksum = true,
                    ChecksumStart = (ushort)(EthernetHeader + header),
                    ChecksumOffset = 16,
                    Segmentation = NetSegmentation.Tcp4,
                    SegmentBytes = (ushort)size,
                    HeaderBytes = (ushort)all,
                };
            }
        }

        if (_undone)
        {
            _work += _length;
            return _backend is null || _backend.Send(_frame, packet);
        }

        do
        {
            var piece = Math.Min(size, payload - _sent);
            var segment = _segment.AsSpan(TagBytes, all + piece);
            packet[..all].CopyTo(segment);
            packet.Slice(all + _sent, piece).CopyTo(segment[all..]);
            PatchHeaders(segment[EthernetHeader..], header, isLast: _sent + piece >= payload);
            Tag(_segment);
            if (!Emit(_segment, segment.Length)) return false;
            _sent += piece;
            _segmentNumber++;
            if (_work < WorkBudget || _sent >= payload) continue;
            _resume.ArmAfter(ResumeDelay);
            return false;
        }
        while (_sent < payload);
        return true;
    }

    /// <summary>What differs from segment to segment: lengths, the identification, the sequence number, FIN and PSH, and the sums.</summary>
    private void PatchHeaders(Span<byte> ip, int header, bool isLast)
    {
        const byte finPush = 0x09;
        var tcp = ip[header..];
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
        BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) + _segmentNumber));
        NetChecksum.PutIpv4(ip[..header]);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]) + (uint)_sent);
        if (!isLast) tcp[13] &= unchecked((byte)~finPush);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], NetChecksum.Fold(NetChecksum.PseudoSum(ip, false, NetHeaders.Tcp, tcp.Length)));
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], (ushort)~NetChecksum.Sum(tcp));
    }

    /// <summary>Puts the tag in, in front of which the addresses move. The descriptor has it in the order of the wire.</summary>
    private void Tag(byte[] buffer)
    {
        if (HasTag) InsertTag(buffer, 0x8100, BinaryPrimitives.ReverseEndianness((ushort)_tag));
    }

    /// <summary>Sends a frame, to the backend or back.</summary>
    private bool Emit(byte[] buffer, int length)
    {
        const int overhead = 256;
        var frame = HasTag ? buffer.AsSpan(0, TagBytes + length) : buffer.AsSpan(TagBytes, length);
        _work += length + overhead;
        if (!_chip.IsLooped) return _backend is null || _backend.Send(_frame, frame);
        _chip.Loop(frame);
        return true;
    }

    /// <summary>Its part of the tally counters (section 6.4).</summary>
    public void WriteTally(Span<byte> tally) => BinaryPrimitives.WriteUInt64LittleEndian(tally, _ok);

    public void ClearTally() => _ok = 0;

    /// <summary>CR.TE changed: the next descriptors are the first ones.</summary>
    public void Enabled()
    {
        if ((_chip.Cr & Rtl8139.CrTransmit) == 0)
        {
            Stop();
            _chip.Tsd.AsSpan().Fill(TsdOwn);
        }
        else
        {
            Kick();
        }
    }

    /// <summary>TNPDS was written.</summary>
    public void NormalWritten()
    {
        if (_chip.IsPlusTransmit) _normalIndex = 0;
    }

    /// <summary>THPDS was written.</summary>
    public void HighWritten()
    {
        if (_chip.IsPlusTransmit) _highIndex = 0;
    }

    public void Stop()
    {
        _resume.Cancel();
        _oldIndex = _normalIndex = _highIndex = 0;
        _normalPolled = _highPolled = _isHigh = false;
        _options = _tag = 0;
        Drop();
    }

    public void State(StateVisitor s)
    {
        s.Enum("stage", ref _stage);
        PacketState(s, _buffer, ref _length, MaxBytes);
        s.Bool("too-long", ref _isTooLong);
        s.Bool("in-packet", ref _inPacket);
        s.Bool("high", ref _isHigh);
        s.U32("options", ref _options);
        s.U32("tag", ref _tag);
        s.I32("sent", ref _sent, 0, MaxBytes);
        s.I32("segment", ref _segmentNumber, 0, MaxBytes);
        s.I32("old.index", ref _oldIndex, 0, OldDescriptors - 1);
        s.I32("normal.index", ref _normalIndex, 0, RingLength - 1);
        s.I32("high.index", ref _highIndex, 0, RingLength - 1);
        s.Bool("normal.polled", ref _normalPolled);
        s.Bool("high.polled", ref _highPolled);
        s.Bool("prepared", ref _isPrepared);
        s.Bool("undone", ref _undone);
        FrameState(s, ref _frame);
        s.U64("ok", ref _ok);
    }

    /// <summary>A packet that waited for the old backend goes to the new one; a ring that was left half done goes on.</summary>
    public void Restored() => _resume.ArmAfter(0);
}
