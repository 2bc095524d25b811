using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;

namespace XenDM.Devices.Storage.Ide;

/// <summary>
/// An ATAPI CD/DVD-ROM drive: packet commands by programmed I/O with the host's byte count limit, and by bus-master DMA. Specifications:
/// ATA/ATAPI-6 (packet feature set), SFF-8020i and MMC-3 (commands), SPC-2 (sense, inquiry, mode pages).
/// Deviations: no unit attention after power on or reset, as guests of emulated drives expect; no audio; discs have one data track; an image of more than 800 MB is a DVD profile for GET CONFIGURATION only.
/// </summary>
internal sealed class AtapiCdrom : IdeDrive, IMediumListener
{
    private const int BlockBytes = 2048;
    private const int PacketBytes = 12;
    private const int MaxCdBlocks = 400_000;
    private const byte InterruptReasonCommand = 1;
    private const byte InterruptReasonToHost = 2;
    private const int ProfileCdRom = 0x0008;
    private const int ProfileDvdRom = 0x0010;

    private static readonly Sense s_noMedium = new(2, 0x3a, 0x00);
    private static readonly Sense s_noMediumTrayOpen = new(2, 0x3a, 0x02);
    private static readonly Sense s_readError = new(3, 0x11, 0x00);
    private static readonly Sense s_badCommand = new(5, 0x20, 0x00);
    private static readonly Sense s_badAddress = new(5, 0x21, 0x00);
    private static readonly Sense s_badField = new(5, 0x24, 0x00);
    private static readonly Sense s_locked = new(5, 0x53, 0x02);
    private static readonly Sense s_mediumChanged = new(6, 0x28, 0x00);

    private readonly IMachineEvents _events;
    private readonly string _deviceId;
    private readonly string _serial;
    private readonly byte[] _packet = new byte[PacketBytes];
    [Glue("the image itself; the board opens it again, and the tray's state says whether it is seen")]
    private IBlockBackend? _medium;
    private bool _packetPhase;
    private bool _identifying;
    private bool _useDma;
    private int _byteLimit;
    private int _replyLength;
    private int _replyPosition;
    private uint _nextBlock;
    private uint _blocksLeft;
    private bool _trayOpen;
    private bool _locked;
    private bool _ejectRequested;
    private bool _newMedium;
    private byte _senseKey, _senseCode, _senseQualifier;
    private byte _attentionCode;

    private readonly record struct Sense(byte Key, byte Code, byte Qualifier);

    public AtapiCdrom(IdeChannel channel, int unit, string driveId, string deviceId, IBlockBackend? medium, string serial, IMachineEvents events)
        : base(channel, unit)
    {
        DriveId = driveId;
        _deviceId = deviceId;
        _medium = medium;
        _serial = serial;
        _events = events;
    }

    public string DriveId { get; }

    public bool IsTrayLocked => _locked;

    public bool IsTrayOpen => _trayOpen;

    protected override IBlockBackend? Image => _medium;

    private bool HasMedium => _medium is not null && !_trayOpen;

    private uint Blocks => (uint)Math.Min(uint.MaxValue, (_medium?.LengthBytes ?? 0) / BlockBytes);

    /// <summary>
    /// Taking a disc out opens the tray and putting one in closes it; the guest then sees a unit attention.
    /// </summary>
    public void MediumChanged(IBlockBackend? medium)
    {
        _medium?.Drain();
        _medium = medium;
        _ejectRequested = false;
        if (medium is null)
        {
            if (!_trayOpen) _events.TrayMoved(DriveId, _deviceId, isOpen: true);
            _trayOpen = true;
            return;
        }

        if (_trayOpen) _events.TrayMoved(DriveId, _deviceId, isOpen: false);
        _trayOpen = false;
        _newMedium = true;
        _attentionCode = s_mediumChanged.Code;
    }

    public void EjectRequested() => _ejectRequested = true;

    public override void ResetDrive()
    {
        base.ResetDrive();
        _packetPhase = _identifying = _useDma = false;
        _byteLimit = _replyLength = _replyPosition = 0;
        _nextBlock = _blocksLeft = 0;
        _locked = _ejectRequested = _newMedium = false;
        _senseKey = _senseCode = _senseQualifier = 0;
        _attentionCode = 0;
        Array.Clear(_packet);
    }

    public override void RunDma()
    {
        if (_blocksLeft > 0 || DmaLeft > 0) StartDmaTransfer();
        else if (CopyBufferToMemory(0, _replyLength))
        {
            Channel.DmaFinished();
            Finish();
        }
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Bytes("packet", _packet);
        s.Bool("packet_phase", ref _packetPhase);
        s.Bool("identifying", ref _identifying);
        s.Bool("use_dma", ref _useDma);
        s.I32("byte_limit", ref _byteLimit, 0, 0xfffe);
        s.I32("reply_length", ref _replyLength, 0, BufferBytes);
        s.I32("reply_position", ref _replyPosition, 0, BufferBytes);
        s.U32("next_block", ref _nextBlock);
        s.U32("blocks_left", ref _blocksLeft);
        s.Bool("tray_open", ref _trayOpen);
        s.Bool("locked", ref _locked);
        s.Bool("eject_requested", ref _ejectRequested);
        s.Bool("new_medium", ref _newMedium);
        s.U8("sense_key", ref _senseKey);
        s.U8("sense_code", ref _senseCode);
        s.U8("sense_qualifier", ref _senseQualifier);
        s.U8("attention", ref _attentionCode);
    }

    protected override bool IsAlwaysAccepted(byte command) => command == 0x08;

    protected override void SetSignature() => SetSignature(0x14, 0xeb, 0);

    protected override void Execute(byte command)
    {
        switch (command)
        {
            case 0xa0: StartPacket(); break;
            case 0xa1: IdentifyPacketDevice(); break;
            case 0x08:
                ResetDrive();
                break;
            case 0xec or 0x20:
                // ATA commands tell the host by the signature that this is a packet device.
                SetSignature();
                Fail(IdeError.Abort);
                break;
            case 0xef:
                if (Feature is 0x03 or 0x66 or 0xcc) Complete();
                else Fail(IdeError.Abort);
                break;
            case 0xe5 or 0x98:
                SetCount(0xff);
                Complete();
                break;
            case 0xe0 or 0xe1 or 0xe2 or 0xe3 or 0xe6 or 0x94 or 0x95 or 0x96 or 0x97 or 0x99: Complete(); break;
            default: Fail(IdeError.Abort); break;
        }
    }

    protected override void WindowDone()
    {
        if (_packetPhase)
        {
            _packetPhase = false;
            Buffer.Span[..PacketBytes].CopyTo(_packet);
            RunPacket();
        }
        else if (_identifying) _identifying = false;
        else SendMore();
    }

    protected override void ImageDone()
    {
        if (Request.Error != 0)
        {
            ReadFailed();
            return;
        }

        var blocks = (uint)(Request.SegmentBytes / BlockBytes);
        _nextBlock += blocks;
        _blocksLeft -= blocks;
        _replyLength = (int)Request.SegmentBytes;
        _replyPosition = 0;
        SendMore();
    }

    protected override void DmaDone()
    {
        _blocksLeft = 0;
        Channel.DmaFinished();
        if (Request.Error != 0) ReadFailed();
        else Finish();
    }

    private void StartPacket()
    {
        _useDma = (Feature & 1) != 0;
        _byteLimit = Mid | (High << 8);
        if (_byteLimit == 0xffff) _byteLimit = 0xfffe;
        _packetPhase = true;
        SetCount(InterruptReasonCommand);
        OpenWindow(IdePhase.PioOut, 0, PacketBytes, interrupt: false);
    }

    /// <summary>Ends a packet command well: status phase.</summary>
    private void Finish()
    {
        SetCount(InterruptReasonCommand | InterruptReasonToHost);
        Complete();
    }

    private void Fail(Sense sense)
    {
        (_senseKey, _senseCode, _senseQualifier) = (sense.Key, sense.Code, sense.Qualifier);
        _blocksLeft = 0;
        SetCount(InterruptReasonCommand | InterruptReasonToHost);
        Fail((byte)((sense.Key << 4) | IdeError.Abort));
    }

    private void ReadFailed()
    {
        _events.BlockIoError(DriveId, isWrite: false, Request.Error, "");
        Fail(s_readError);
    }

    /// <summary>Sends the first bytes of the buffer, at most as many as the host asked for.</summary>
    private void Reply(int length, int allocated)
    {
        _blocksLeft = 0;
        _replyLength = Math.Min(length, allocated);
        _replyPosition = 0;
        if (_replyLength == 0) Finish();
        else if (_useDma) AwaitDma(toMemory: true);
        else SendMore();
    }

    /// <summary>
    /// One data block of a reply: its length stands in the byte count registers. It is at most the host's limit, and even unless it is the last
    /// (ATA/ATAPI-6, 9.8). A limit of 0 or 1 would never end; the drive takes it as its largest.
    /// </summary>
    private void SendMore()
    {
        var left = _replyLength - _replyPosition;
        if (left == 0)
        {
            if (_blocksLeft == 0) Finish();
            else ReadBlocks();
            return;
        }

        var limit = _byteLimit < 2 ? 0xfffe : _byteLimit & ~1;
        var length = Math.Min(left, limit);
        var start = _replyPosition;
        _replyPosition += length;
        SetCount(InterruptReasonToHost);
        SetAddress(Low, (byte)length, (byte)(length >> 8));
        OpenWindow(IdePhase.PioIn, start, length, interrupt: true);
    }

    private void ReadBlocks() =>
        StartImage(BlockOperation.Read, (long)_nextBlock * BlockBytes, (int)Math.Min(_blocksLeft, BufferBytes / BlockBytes) * BlockBytes);

    private void RunPacket()
    {
        var operation = _packet[0];

        // INQUIRY, REQUEST SENSE and GET EVENT STATUS work and keep the attention for the next command (MMC-3, 4.1.6).
        if (operation is not (0x12 or 0x03 or 0x4a or 0x46) && _attentionCode != 0)
        {
            _attentionCode = 0;
            Fail(s_mediumChanged);
            return;
        }

        switch (operation)
        {
            case 0x00: if (Ready()) Finish(); break;
            case 0x03: RequestSense(); break;
            case 0x12: Inquiry(); break;
            case 0x1b: StartStop(); break;
            case 0x1e: PreventAllow(); break;
            case 0x25: ReadCapacity(); break;
            case 0x28: Read(Be16(7)); break;
            case 0xa8: Read(Be32(6)); break;
            case 0xbe: ReadCd(); break;
            case 0x2b: Seek(); break;
            case 0x42: ReadSubchannel(); break;
            case 0x43: ReadToc(); break;
            case 0x46: GetConfiguration(); break;
            case 0x4a: GetEventStatus(); break;
            case 0x51: ReadDiscInformation(); break;
            case 0x52: ReadTrackInformation(); break;
            case 0x5a: ModeSense(Be16(7), longHeader: true); break;
            case 0x1a: ModeSense(_packet[4], longHeader: false); break;
            case 0x55: ModeSelect(); break;
            case 0xbd: MechanismStatus(); break;
            case 0x35 or 0xbb: Finish(); break;
            default: Fail(s_badCommand); break;
        }
    }

    /// <returns>False when there is no disc to work on; the command has ended then.</returns>
    private bool Ready()
    {
        if (HasMedium) return true;
        Fail(_trayOpen ? s_noMediumTrayOpen : s_noMedium);
        return false;
    }

    private void Read(uint blocks)
    {
        if (!Ready()) return;
        var first = Be32(2);
        if (blocks == 0) Finish();
        else if (first >= Blocks || blocks > Blocks - first) Fail(s_badAddress);
        else
        {
            _nextBlock = first;
            _blocksLeft = blocks;
            if (_useDma) PrepareDma(toMemory: true, (long)first * BlockBytes, (long)blocks * BlockBytes);
            else ReadBlocks();
        }
    }

    /// <summary>READ CD: user data only is the same as READ(12). Raw sectors are refused: a file of blocks of 2048 bytes does not hold them.</summary>
    private void ReadCd()
    {
        var blocks = ((uint)_packet[6] << 16) | Be16(7);
        switch (_packet[9] & 0xf8)
        {
            case 0x00: if (Ready()) Finish(); break;
            case 0x10: Read(blocks); break;
            default: Fail(s_badField); break;
        }
    }

    private void Seek()
    {
        if (!Ready()) return;
        if (Be32(2) >= Blocks) Fail(s_badAddress);
        else Finish();
    }

    private void RequestSense()
    {
        var reply = Clear(18);
        if (_senseKey == 0 && _attentionCode != 0)
        {
            (_senseKey, _senseCode) = (6, _attentionCode);
            _attentionCode = 0;
        }

        reply[0] = 0x70;
        reply[2] = _senseKey;
        reply[7] = 10;
        reply[12] = _senseCode;
        reply[13] = _senseQualifier;
        _senseKey = _senseCode = _senseQualifier = 0;
        Reply(18, _packet[4]);
    }

    private void Inquiry()
    {
        if ((_packet[1] & 1) != 0)
        {
            Fail(s_badField);
            return;
        }

        var reply = Clear(36);
        reply[0] = 5;
        reply[1] = 0x80;
        reply[3] = 0x21;
        reply[4] = 31;
        Ascii(reply.Slice(8, 8), "XenDM");
        Ascii(reply.Slice(16, 16), "DVD-ROM");
        Ascii(reply.Slice(32, 4), "1.0");
        Reply(36, _packet[4]);
    }

    /// <summary>START STOP UNIT: LoEj and Start together load or eject.</summary>
    private void StartStop()
    {
        var loadEject = (_packet[4] & 2) != 0;
        var start = (_packet[4] & 1) != 0;
        if (!loadEject)
        {
            Finish();
            return;
        }

        if (!start && _locked)
        {
            Fail(s_locked);
            return;
        }

        if (_trayOpen == start)
        {
            _trayOpen = !start;
            if (start && _medium is not null)
            {
                _newMedium = true;
                _attentionCode = s_mediumChanged.Code;
            }

            _events.TrayMoved(DriveId, _deviceId, _trayOpen);
        }

        Finish();
    }

    private void PreventAllow()
    {
        _locked = (_packet[4] & 1) != 0;
        Finish();
    }

    private void ReadCapacity()
    {
        if (!Ready()) return;
        var reply = Clear(8);
        BinaryPrimitives.WriteUInt32BigEndian(reply, Blocks == 0 ? 0 : Blocks - 1);
        BinaryPrimitives.WriteUInt32BigEndian(reply[4..], BlockBytes);
        Reply(8, 8);
    }

    private void ReadToc()
    {
        if (!Ready()) return;
        var isMsf = (_packet[1] & 2) != 0;
        var format = _packet[2] & 0x0f;
        if (format == 0) format = _packet[9] >> 6;
        switch (format)
        {
            case 0: ReadTocTracks(isMsf); break;
            case 1: ReadTocSession(isMsf); break;
            case 2: ReadTocFull(isMsf); break;
            default: Fail(s_badField); break;
        }
    }

    /// <summary>Track 1 and the lead-out (track aa).</summary>
    private void ReadTocTracks(bool isMsf)
    {
        var start = _packet[6];
        if (start > 1 && start != 0xaa)
        {
            Fail(s_badField);
            return;
        }

        var reply = Clear(20);
        var at = 4;
        reply[2] = reply[3] = 1;
        if (start <= 1) at += TocEntry(reply[at..], 1, 0, isMsf);
        at += TocEntry(reply[at..], 0xaa, Blocks, isMsf);
        BinaryPrimitives.WriteUInt16BigEndian(reply, (ushort)(at - 2));
        Reply(at, Be16(7));
    }

    private static int TocEntry(Span<byte> entry, byte track, uint block, bool isMsf)
    {
        entry[1] = 0x14;
        entry[2] = track;
        WriteAddress(entry[4..], block, isMsf);
        return 8;
    }

    private void ReadTocSession(bool isMsf)
    {
        var reply = Clear(12);
        reply[1] = 10;
        reply[2] = reply[3] = 1;
        reply[5] = 0x14;
        reply[6] = 1;
        WriteAddress(reply[8..], 0, isMsf);
        Reply(12, Be16(7));
    }

    private void ReadTocFull(bool isMsf)
    {
        var reply = Clear(4 + (4 * 11));
        reply[1] = 2 + (4 * 11);
        reply[2] = reply[3] = 1;
        var at = 4;
        foreach (var point in (ReadOnlySpan<byte>)[0xa0, 0xa1, 0xa2, 1])
        {
            var entry = reply.Slice(at, 11);
            entry[0] = 1;
            entry[1] = 0x14;
            entry[3] = point;
            if (point is 0xa0 or 0xa1) entry[8] = 1;
            else WriteAddress(entry[7..], point == 0xa2 ? Blocks : 0, isMsf);
            at += 11;
        }

        Reply(at, Be16(7));
    }

    /// <summary>A block as a number, or as minute, second and frame with the lead-in of two seconds.</summary>
    private static void WriteAddress(Span<byte> target, uint block, bool isMsf)
    {
        if (!isMsf)
        {
            BinaryPrimitives.WriteUInt32BigEndian(target, block);
            return;
        }

        var frames = (ulong)block + 150;
        target[0] = 0;
        target[1] = (byte)(frames / (75 * 60));
        target[2] = (byte)(frames / 75 % 60);
        target[3] = (byte)(frames % 75);
    }

    private void ReadSubchannel()
    {
        if (!Ready()) return;
        var reply = Clear(4);
        reply[1] = 0x15;
        Reply(4, Be16(7));
    }

    private void GetConfiguration()
    {
        var type = _packet[1] & 3;
        var start = Be16(2);
        if (type == 3)
        {
            Fail(s_badField);
            return;
        }

        var reply = Clear(64);
        var profile = !HasMedium ? 0 : Blocks > MaxCdBlocks ? ProfileDvdRom : ProfileCdRom;
        BinaryPrimitives.WriteUInt16BigEndian(reply[6..], (ushort)profile);
        var at = 8;
        if (Wants(0)) at += ProfileList(reply[at..], profile);
        if (Wants(1)) at += FeatureDescriptor(reply[at..], 1, persistent: true, [0, 0, 0, 2, 0, 0, 0, 0]);
        if (Wants(2)) at += FeatureDescriptor(reply[at..], 2, persistent: true, [0, 0, 0, 0]);
        if (Wants(3)) at += FeatureDescriptor(reply[at..], 3, persistent: true, [0x29, 0, 0, 0]);
        BinaryPrimitives.WriteUInt32BigEndian(reply, (uint)(at - 4));
        Reply(at, Be16(7));

        bool Wants(int feature) => type == 2 ? feature == start : feature >= start;
    }

    private static int ProfileList(Span<byte> target, int current)
    {
        target[2] = 3;
        target[3] = 8;
        BinaryPrimitives.WriteUInt16BigEndian(target[4..], ProfileDvdRom);
        target[6] = (byte)(current == ProfileDvdRom ? 1 : 0);
        BinaryPrimitives.WriteUInt16BigEndian(target[8..], ProfileCdRom);
        target[10] = (byte)(current == ProfileCdRom ? 1 : 0);
        return 12;
    }

    private static int FeatureDescriptor(Span<byte> target, int code, bool persistent, ReadOnlySpan<byte> data)
    {
        BinaryPrimitives.WriteUInt16BigEndian(target, (ushort)code);
        target[2] = (byte)(persistent ? 3 : 1);
        target[3] = (byte)data.Length;
        data.CopyTo(target[4..]);
        return 4 + data.Length;
    }

    /// <summary>GET EVENT STATUS NOTIFICATION, polled: media events. An eject wish of the host comes as "eject request".</summary>
    private void GetEventStatus()
    {
        if ((_packet[1] & 1) == 0)
        {
            Fail(s_badField);
            return;
        }

        var reply = Clear(8);
        reply[3] = 0x10;
        if ((_packet[4] & 0x10) == 0)
        {
            reply[1] = 2;
            reply[2] = 0x80;
            Reply(4, Be16(7));
            return;
        }

        reply[1] = 6;
        reply[2] = 4;
        reply[4] = (byte)(_ejectRequested ? 1 : _newMedium ? 2 : 0);
        reply[5] = (byte)((_trayOpen ? 1 : 0) | (HasMedium ? 2 : 0));
        if (_ejectRequested) _ejectRequested = false;
        else _newMedium = false;
        Reply(8, Be16(7));
    }

    private void ReadDiscInformation()
    {
        if (!Ready()) return;
        var reply = Clear(34);
        reply[1] = 32;
        reply[2] = 0x0e;
        reply[3] = reply[4] = reply[5] = reply[6] = 1;
        reply[7] = 0x20;
        Reply(34, Be16(7));
    }

    private void ReadTrackInformation()
    {
        if (!Ready()) return;
        var reply = Clear(36);
        reply[1] = 34;
        reply[2] = reply[3] = 1;
        reply[5] = 4;
        reply[6] = 1;
        BinaryPrimitives.WriteUInt32BigEndian(reply[24..], Blocks);
        Reply(36, Be16(7));
    }

    /// <summary>Pages 01 (errors), 0e (audio), 2a (capabilities), and 3f for all.</summary>
    private void ModeSense(int allocated, bool longHeader)
    {
        var page = _packet[2] & 0x3f;
        if (_packet[2] >> 6 == 3)
        {
            Fail(new Sense(5, 0x39, 0));
            return;
        }

        var reply = Clear(96);
        var at = longHeader ? 8 : 4;
        var body = at;
        if (page is 0x01 or 0x3f) at += Page(reply[at..], [0x01, 6, 0, 5, 0, 0, 0, 0]);
        if (page is 0x0e or 0x3f) at += Page(reply[at..], [0x0e, 14, 4, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff, 0, 0, 0, 0]);
        if (page is 0x2a or 0x3f)
        {
            byte[] capabilities = [0x2a, 20, 0x3b, 0, 0x70, 0x60, (byte)(0x29 | (_locked ? 2 : 0)), 0, 2, 0xc2, 0, 2, 2, 0, 2, 0xc2, 0, 0, 0, 0, 0, 0];
            at += Page(reply[at..], capabilities);
        }

        if (at == body)
        {
            Fail(s_badField);
            return;
        }

        var medium = (byte)(_trayOpen ? 0x71 : HasMedium ? 0x01 : 0x70);
        if (longHeader)
        {
            BinaryPrimitives.WriteUInt16BigEndian(reply, (ushort)(at - 2));
            reply[2] = medium;
        }
        else
        {
            reply[0] = (byte)(at - 1);
            reply[1] = medium;
        }

        Reply(at, allocated);
    }

    private static int Page(Span<byte> target, ReadOnlySpan<byte> page)
    {
        page.CopyTo(target);
        return page.Length;
    }

    /// <summary>MODE SELECT: nothing here can be set, so an empty list is taken and a page refused.</summary>
    private void ModeSelect()
    {
        if (Be16(7) == 0) Finish();
        else Fail(s_badField);
    }

    private void MechanismStatus()
    {
        var reply = Clear(8);
        reply[1] = (byte)(_trayOpen ? 0x10 : 0);
        reply[5] = 1;
        Reply(8, Be16(8));
    }

    /// <summary>IDENTIFY PACKET DEVICE (ATA/ATAPI-6, 8.16).</summary>
    private void IdentifyPacketDevice()
    {
        var data = Buffer.Span[..512];
        data.Clear();
        Word(0, 0x85c0);
        IdeStrings.Write(data.Slice(20, 20), _serial);
        Word(20, 3);
        Word(21, 512);
        Word(22, 4);
        IdeStrings.Write(data.Slice(46, 8), "1.0");
        IdeStrings.Write(data.Slice(54, 40), "XenDM DVD-ROM");
        Word(49, 0x0b00);
        Word(51, 0x0200);
        Word(52, 0x0200);
        Word(53, 7);
        Word(63, 0x0007);
        Word(64, 3);
        for (var word = 65; word <= 68; word++) Word(word, 120);
        Word(80, 0x0070);
        Word(82, (1 << 4) | (1 << 9) | (1 << 14));
        Word(83, 1 << 14);
        Word(84, 1 << 14);
        Word(85, (1 << 4) | (1 << 9) | (1 << 14));
        Word(87, 1 << 14);
        Word(88, 0x203f);
        Word(93, 0x6001 | (Unit == 0 ? 0x0008 : 0x0a00));
        _identifying = true;
        OpenWindow(IdePhase.PioIn, 0, 512, interrupt: true);

        void Word(int word, int value) => BinaryPrimitives.WriteUInt16LittleEndian(Buffer.Span[(word * 2)..], (ushort)value);
    }

    private Span<byte> Clear(int length)
    {
        var reply = Buffer.Span[..length];
        reply.Clear();
        return reply;
    }

    private ushort Be16(int at) => BinaryPrimitives.ReadUInt16BigEndian(_packet.AsSpan(at));

    private uint Be32(int at) => BinaryPrimitives.ReadUInt32BigEndian(_packet.AsSpan(at));

    private static void Ascii(Span<byte> target, string text)
    {
        target.Fill((byte)' ');
        for (var i = 0; i < text.Length; i++) target[i] = (byte)text[i];
    }
}
