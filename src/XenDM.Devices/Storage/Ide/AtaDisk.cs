using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;

namespace XenDM.Devices.Storage.Ide;

/// <summary>
/// An ATA disk: CHS, 28-bit and 48-bit addressing, programmed I/O of single and multiple sectors, bus-master DMA, write cache, TRIM, SMART
/// basics. Specification: ATA/ATAPI-6 (T13/1410D) chapter 8; DATA SET MANAGEMENT from ACS-2 7.10.
/// Deviations: security is frozen from the start; power modes are accepted and the disk is always ready; streaming, overlapped and queued
/// commands, HPA and DCO are not there (aborted). A host error on a write is reported as UNC, so that the failing sector is known.
/// </summary>
internal sealed class AtaDisk : IdeDrive
{
    private const int SectorBytes = 512;
    private const int MaxMultiple = 16;
    private const int Heads = 16;
    private const int SectorsPerTrack = 63;
    private const int MaxCylinders = 16383;
    private const uint MaxLba28 = 0x0fff_ffff;
    private const byte LbaBit = 0x40;
    private const int RangeBytes = 8;

    private readonly IBlockBackend _image;
    private readonly IMachineEvents _events;
    private readonly string _serial;
    private readonly string _model;
    private readonly string _revision;
    private readonly bool _cacheAtPowerOn;
    private readonly long _sectors;
    private byte _command;
    private long _lba;
    private int _left;
    private int _block;
    private int _blockSize;
    private int _buffered;
    private int _bufferPosition;
    private byte _multiple;
    private bool _writeCache;
    private bool _smartEnabled;
    private byte _transferMode;
    private byte _logicalHeads;
    private byte _logicalSectors;
    private int _range;

    public AtaDisk(IdeChannel channel, int unit, string driveId, IBlockBackend image, string serial, bool writeCache, IMachineEvents events, string model = "XenDM HARDDISK", string revision = "1.0")
        : base(channel, unit)
    {
        DriveId = driveId;
        _model = model;
        _revision = revision;
        _image = image;
        _serial = serial;
        _cacheAtPowerOn = writeCache;
        _events = events;
        _sectors = image.LengthBytes / SectorBytes;
    }

    public string DriveId { get; }

    /// <summary>Commands that move data are aborted while this says so; null for never.</summary>
    [Glue("set by the board")]
    public Func<bool>? IsTaken { get; set; }

    protected override IBlockBackend? Image => _image;

    private int Cylinders => (int)Math.Min(MaxCylinders, Math.Max(1, _sectors / (Heads * SectorsPerTrack)));

    private bool IsExtended => _command is 0x24 or 0x25 or 0x29 or 0x34 or 0x35 or 0x39 or 0x42 or 0xea or 0x27 or 0x3d or 0xce;

    private bool IsWrite => _command is 0x30 or 0x31 or 0x34 or 0xc5 or 0x39 or 0xca or 0xcb or 0x35 or 0x3d or 0xce;

    /// <summary>Finishes what is in flight and brings it to stable storage: the disk is about to go.</summary>
    public void Quiesce()
    {
        _image.Drain();
        var flush = new BlockRequest(static _ => { }) { Operation = BlockOperation.Flush };
        _image.Submit(flush);
        _image.Drain();
    }

    public override void ResetDrive()
    {
        base.ResetDrive();
        _command = 0;
        _lba = _left = _block = _blockSize = _buffered = _bufferPosition = _range = 0;
        _multiple = 0;
        _writeCache = _cacheAtPowerOn;
        _smartEnabled = true;
        _transferMode = 0x45;
        _logicalHeads = Heads;
        _logicalSectors = SectorsPerTrack;
    }

    public override void RunDma()
    {
        if (IsTaken?.Invoke() ?? false)
        {
            Fail(IdeError.Abort);
            Channel.DmaFinished();
        }
        else if (_command == 0x06) RunTrimTable();
        else StartDmaTransfer();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Same("sectors", (ulong)_sectors);
        s.U8("command", ref _command);
        s.I64("lba", ref _lba);
        if (s.IsLoading && (_lba < 0 || _lba > _sectors)) s.Fail("lba", $"{_lba} is not on the disk");
        s.I32("left", ref _left, 0, 65536);
        s.I32("block", ref _block, 0, BufferBytes / SectorBytes);
        s.I32("block_size", ref _blockSize, 0, MaxMultiple);
        s.I32("buffered", ref _buffered, 0, BufferBytes);
        s.I32("buffer_position", ref _bufferPosition, 0, BufferBytes);
        s.U8("multiple", ref _multiple);
        if (s.IsLoading && _multiple > MaxMultiple) s.Fail("multiple", $"{_multiple} is more than {MaxMultiple}");
        s.Bool("write_cache", ref _writeCache);
        s.Bool("smart_enabled", ref _smartEnabled);
        s.U8("transfer_mode", ref _transferMode);
        s.U8("logical_heads", ref _logicalHeads);
        s.U8("logical_sectors", ref _logicalSectors);
        s.I32("range", ref _range, 0, BufferBytes);
    }

    protected override void SetSignature() => SetSignature(0, 0, IdeStatus.Drdy | IdeStatus.Dsc);

    protected override void Execute(byte command)
    {
        _command = command;
        switch (command)
        {
            case 0x20 or 0x21 or 0x24: StartPio(isWrite: false, 1); break;
            case 0x30 or 0x31 or 0x34: StartPio(isWrite: true, 1); break;
            case 0xc4 or 0x29: StartMultiple(isWrite: false); break;
            case 0xc5 or 0x39 or 0xce: StartMultiple(isWrite: true); break;
            case 0xc8 or 0xc9 or 0x25: StartDma(isWrite: false); break;
            case 0xca or 0xcb or 0x35 or 0x3d: StartDma(isWrite: true); break;
            case 0x40 or 0x41 or 0x42: Verify(); break;
            case 0xe7 or 0xea: StartImage(BlockOperation.Flush, 0, 0); break;
            case 0xec: Identify(); break;
            case 0xef: SetFeatures(); break;
            case 0xc6: SetMultiple(); break;
            case 0x91: InitializeParameters(); break;
            case 0x06: DataSetManagement(); break;
            case 0xb0: Smart(); break;
            case 0xf8 or 0x27: ReadNativeMax(); break;
            case 0xe5 or 0x98:
                // CHECK POWER MODE: active or idle.
                SetCount(0xff);
                Complete();
                break;
            case >= 0x10 and <= 0x1f or 0x70:
                // RECALIBRATE, SEEK: there is nothing to move.
                Complete();
                break;
            case 0xe0 or 0xe1 or 0xe2 or 0xe3 or 0xe6 or 0x94 or 0x95 or 0x96 or 0x97 or 0x99 or 0xf5:
                // Standby, idle, sleep, security freeze lock.
                Complete();
                break;
            default: Fail(IdeError.Abort); break;
        }
    }

    protected override void WindowDone()
    {
        if (_command == 0x06) return;
        if (!IsWrite)
        {
            ReadWindowDone();
            return;
        }

        if (IsTaken?.Invoke() ?? false) Fail(IdeError.Abort);
        else StartImage(BlockOperation.Write, _lba * SectorBytes, _block * SectorBytes);
    }

    protected override void ImageDone()
    {
        if (Request.Error != 0)
        {
            if (Request.Operation == BlockOperation.Discard) Channel.DmaFinished();
            FailAt(_lba + (Request.BytesDone / SectorBytes));
            return;
        }

        switch (Request.Operation)
        {
            case BlockOperation.Read: BufferRead(); break;
            case BlockOperation.Write: BufferWritten(); break;
            case BlockOperation.Discard: TrimNext(); break;
            default: Complete(); break;
        }
    }

    protected override void DmaDone()
    {
        var sectors = _left - (int)(DmaLeft / SectorBytes);
        if (Request.Error != 0)
        {
            FailAt(_lba + sectors);
            Channel.DmaFinished();
            return;
        }

        Advance(sectors);
        Channel.DmaFinished();
        if (IsWrite && !_writeCache) StartImage(BlockOperation.Flush, 0, 0);
        else Complete();
    }

    /// <summary>Takes address and count out of the task file.</summary>
    /// <returns>False when they are not on the disk, or the disk is taken; the command has ended then.</returns>
    private bool TakeAddress()
    {
        if (IsTaken?.Invoke() ?? false)
        {
            _left = 0;
            Fail(IdeError.Abort);
            return false;
        }

        if (IsExtended)
        {
            _lba = (long)Math.Min(Lba48, long.MaxValue);
            _left = Count16 == 0 ? 65536 : Count16;
        }
        else
        {
            _left = Count == 0 ? 256 : Count;
            if ((Device & LbaBit) != 0) _lba = Lba24 | ((long)(Device & 0x0f) << 24);
            else if (!TryTakeChs()) return false;
        }

        if (_lba <= _sectors - _left) return true;

        // The part before the end of the disk is not transferred: the address is checked as a whole.
        _lba = 0;
        _left = 0;
        Fail(IdeError.IdNotFound);
        return false;
    }

    private bool TryTakeChs()
    {
        var cylinder = Mid | (High << 8);
        var head = Device & 0x0f;
        if (Low != 0 && Low <= _logicalSectors && head < _logicalHeads)
        {
            _lba = ((((long)cylinder * _logicalHeads) + head) * _logicalSectors) + Low - 1;
            return true;
        }

        _left = 0;
        Fail(IdeError.IdNotFound);
        return false;
    }

    private void StartMultiple(bool isWrite)
    {
        if (_multiple == 0) Fail(IdeError.Abort);
        else StartPio(isWrite, _multiple);
    }

    /// <param name="block">Sectors of one data block.</param>
    private void StartPio(bool isWrite, int block)
    {
        if (!TakeAddress()) return;
        if (isWrite && _image.IsReadOnly)
        {
            Fail(IdeError.Abort);
            return;
        }

        _blockSize = block;
        if (isWrite) OpenWriteBlock(interrupt: false);
        else ReadMore();
    }

    /// <summary>Fills the buffer with as many sectors as it holds.</summary>
    private void ReadMore() => StartImage(BlockOperation.Read, _lba * SectorBytes, Math.Min(_left * SectorBytes, BufferBytes / (_blockSize * SectorBytes) * (_blockSize * SectorBytes)));

    private void BufferRead()
    {
        _buffered = (int)Request.SegmentBytes;
        _bufferPosition = 0;
        OpenReadBlock();
    }

    private void OpenReadBlock()
    {
        _block = Math.Min(_blockSize, Math.Min(_left, (_buffered - _bufferPosition) / SectorBytes));
        OpenWindow(IdePhase.PioIn, _bufferPosition, _block * SectorBytes, interrupt: true);
    }

    private void ReadWindowDone()
    {
        if (_left == 0) return;
        _bufferPosition += _block * SectorBytes;
        Advance(_block);
        if (_left == 0) return;
        if (_bufferPosition < _buffered) OpenReadBlock();
        else ReadMore();
    }

    private void OpenWriteBlock(bool interrupt)
    {
        _block = Math.Min(_blockSize, _left);
        OpenWindow(IdePhase.PioOut, 0, _block * SectorBytes, interrupt);
    }

    private void BufferWritten()
    {
        Advance(_block);
        if (_left > 0) OpenWriteBlock(interrupt: true);
        else if (!_writeCache) StartImage(BlockOperation.Flush, 0, 0);
        else Complete();
    }

    private void StartDma(bool isWrite)
    {
        if (!TakeAddress()) return;
        if (isWrite && _image.IsReadOnly) Fail(IdeError.Abort);
        else PrepareDma(toMemory: !isWrite, _lba * SectorBytes, (long)_left * SectorBytes);
    }

    private void Verify()
    {
        if (!TakeAddress()) return;
        Advance(_left);
        Complete();
    }

    /// <summary>Sectors are done: the task file shows the last one of them, as drives do.</summary>
    private void Advance(int sectors)
    {
        if (sectors == 0) return;
        _lba += sectors;
        _left -= sectors;
        ShowAddress(_lba - 1);
        SetCount((byte)_left);
    }

    private void FailAt(long lba)
    {
        var write = IsWrite;
        _events.BlockIoError(DriveId, write, Request.Error, "");
        if (_command is 0xe7 or 0xea or 0x06)
        {
            Fail(IdeError.Abort);
            return;
        }

        ShowAddress(Math.Min(lba, _sectors - 1));
        Fail(IdeError.Uncorrectable);
    }

    private void ShowAddress(long lba)
    {
        if (IsExtended)
        {
            SetAddress((byte)lba, (byte)(lba >> 8), (byte)(lba >> 16));
            SetAddressHob((byte)(lba >> 24), (byte)(lba >> 32), (byte)(lba >> 40));
        }
        else if ((Device & LbaBit) != 0)
        {
            SetAddress((byte)lba, (byte)(lba >> 8), (byte)(lba >> 16));
            SetDeviceHead((byte)(lba >> 24));
        }
        else
        {
            var track = lba / _logicalSectors;
            var cylinder = track / _logicalHeads;
            SetAddress((byte)((lba % _logicalSectors) + 1), (byte)cylinder, (byte)(cylinder >> 8));
            SetDeviceHead((byte)(track % _logicalHeads));
        }
    }

    private void SetMultiple()
    {
        if (Count > MaxMultiple || (Count & (Count - 1)) != 0) Fail(IdeError.Abort);
        else
        {
            _multiple = Count;
            Complete();
        }
    }

    private void InitializeParameters()
    {
        if (Count == 0)
        {
            Fail(IdeError.Abort);
            return;
        }

        _logicalSectors = Count;
        _logicalHeads = (byte)((Device & 0x0f) + 1);
        Complete();
    }

    private void SetFeatures()
    {
        switch (Feature)
        {
            case 0x02: _writeCache = true; break;
            case 0x82:
                _writeCache = false;
                StartImage(BlockOperation.Flush, 0, 0);
                return;
            case 0x03:
                // Transfer mode: PIO default, PIO 0-4, multiword DMA 0-2, Ultra DMA 0-5.
                if (!IsKnownMode(Count))
                {
                    Fail(IdeError.Abort);
                    return;
                }

                if (Count >= 0x20) _transferMode = Count;
                break;
            case 0xaa or 0x55 or 0x05 or 0x85 or 0x42 or 0xc2 or 0x66 or 0xcc or 0x67 or 0x96 or 0x9a:
                // Look-ahead, power management, acoustic management, reverting to defaults: nothing to do.
                break;
            default:
                Fail(IdeError.Abort);
                return;
        }

        Complete();
    }

    private static bool IsKnownMode(byte mode) => mode is <= 1 or (>= 8 and <= 12) or (>= 0x20 and <= 0x22) or (>= 0x40 and <= 0x45);

    private void ReadNativeMax()
    {
        var last = _sectors - 1;
        if (_command == 0xf8) last = Math.Min(last, MaxLba28);
        SetAddress((byte)last, (byte)(last >> 8), (byte)(last >> 16));
        if (_command == 0x27) SetAddressHob((byte)(last >> 24), (byte)(last >> 32), (byte)(last >> 40));
        else SetDeviceHead((byte)(last >> 24));
        Complete();
    }

    /// <summary>TRIM: the ranges come by DMA, 64 to a sector; each has a 48-bit address and a 16-bit count.</summary>
    private void DataSetManagement()
    {
        var sectors = Count16 == 0 ? 65536 : Count16;
        if (Feature != 1 || sectors * SectorBytes > BufferBytes)
        {
            Fail(IdeError.Abort);
            return;
        }

        _buffered = sectors * SectorBytes;
        _range = 0;
        AwaitDma(toMemory: false);
    }

    private void RunTrimTable()
    {
        if (CopyMemoryToBuffer(0, _buffered)) TrimNext();
    }

    private void TrimNext()
    {
        while (_range + RangeBytes <= _buffered)
        {
            var range = BinaryPrimitives.ReadUInt64LittleEndian(Buffer.Span[_range..]);
            _range += RangeBytes;
            var count = (long)(range >> 48);
            var lba = (long)(range & 0xffff_ffff_ffff);
            if (count == 0) continue;
            if (lba > _sectors - count)
            {
                Channel.DmaFinished();
                Fail(IdeError.Abort);
                return;
            }

            // To trim is a hint: an image that cannot give space back keeps its data.
            if (!_image.CanDiscard) continue;
            StartImage(BlockOperation.Discard, lba * SectorBytes, count * SectorBytes);
            return;
        }

        Channel.DmaFinished();
        Complete();
    }

    private void Smart()
    {
        if (Mid != 0x4f || High != 0xc2 || (!_smartEnabled && Feature != 0xd8))
        {
            Fail(IdeError.Abort);
            return;
        }

        switch (Feature)
        {
            case 0xd8 or 0xd9:
                _smartEnabled = Feature == 0xd8;
                Complete();
                break;
            case 0xda or 0xd2 or 0xd3 or 0xd4 or 0xdb:
                // RETURN STATUS: the signature unchanged means healthy. Autosave, save and off-line tests: nothing to do.
                Complete();
                break;
            case 0xd0:
                SmartData();
                break;
            case 0xd1:
                SmartSector([0x10, 0]);
                break;
            case 0xd5:
                SmartSector(Low == 0 ? [1, 0] : []);
                break;
            default: Fail(IdeError.Abort); break;
        }
    }

    /// <summary>READ DATA: off-line collection was never started, self-tests are quick.</summary>
    private void SmartData()
    {
        var data = Buffer.Span[..SectorBytes];
        data.Clear();
        data[0] = 0x10;
        data[362] = 0x02;
        data[367] = 0x11;
        data[368] = 0x03;
        data[372] = 0x02;
        SendSector(checksum: true);
    }

    private void SmartSector(ReadOnlySpan<byte> head)
    {
        var data = Buffer.Span[..SectorBytes];
        data.Clear();
        head.CopyTo(data);
        SendSector(checksum: true);
    }

    /// <summary>Sends the first sector of the buffer as the data of a command without an address.</summary>
    private void SendSector(bool checksum)
    {
        if (checksum)
        {
            byte sum = 0;
            foreach (var b in Buffer.Span[..(SectorBytes - 1)]) sum += b;
            Buffer.Span[SectorBytes - 1] = (byte)-sum;
        }

        _left = 0;
        OpenWindow(IdePhase.PioIn, 0, SectorBytes, interrupt: true);
    }

    /// <summary>IDENTIFY DEVICE (ATA/ATAPI-6, 8.15).</summary>
    private void Identify()
    {
        var data = Buffer.Span[..SectorBytes];
        data.Clear();
        var chsSectors = (uint)Cylinders * Heads * SectorsPerTrack;
        Word(0, 0x0040);
        Word(1, Cylinders);
        Word(3, Heads);
        Word(6, SectorsPerTrack);
        Ascii(10, 20, _serial);
        Word(20, 3);
        Word(21, 512);
        Word(22, 4);
        Ascii(23, 8, _revision);
        Ascii(27, 40, _model);
        Word(47, 0x8000 | MaxMultiple);
        Word(48, 1);
        Word(49, 0x0f00);
        Word(50, 0x4000);
        Word(51, 0x0200);
        Word(52, 0x0200);
        Word(53, 7);
        Word(54, Cylinders);
        Word(55, Heads);
        Word(56, SectorsPerTrack);
        Word(57, (int)chsSectors);
        Word(58, (int)(chsSectors >> 16));
        if (_multiple != 0) Word(59, 0x0100 | _multiple);
        var lba28 = Math.Min(_sectors, MaxLba28);
        Word(60, (int)lba28);
        Word(61, (int)(lba28 >> 16));
        Word(63, 0x07 | ModeBits(0x20, 3));
        Word(64, 3);
        for (var word = 65; word <= 68; word++) Word(word, 120);
        Word(80, 0x00f0);
        Word(81, 0x0016);
        Word(82, 0x0021 | (1 << 14));
        Word(83, (1 << 14) | (1 << 13) | (1 << 12) | (1 << 10));
        Word(84, 1 << 14);
        Word(85, (_smartEnabled ? 1 : 0) | (_writeCache ? 0x20 : 0) | (1 << 14));
        Word(86, (1 << 13) | (1 << 12) | (1 << 10));
        Word(87, 1 << 14);
        Word(88, 0x3f | ModeBits(0x40, 6));
        Word(93, 0x6001 | (Unit == 0 ? 0x0008 : 0x0a00));
        Word(100, (int)_sectors);
        Word(101, (int)(_sectors >> 16));
        Word(102, (int)(_sectors >> 32));
        if (_image.CanDiscard)
        {
            Word(69, 1 << 14);
            Word(105, BufferBytes / SectorBytes);
            Word(169, 1);
        }

        Word(128, 0x0009);
        Word(217, 1);
        data[510] = 0xa5;
        SendSector(checksum: true);
    }

    /// <summary>The selected mode of a kind as bits 15:8.</summary>
    private int ModeBits(int first, int count) => _transferMode >= first && _transferMode < first + count ? 0x100 << (_transferMode - first) : 0;

    private void Word(int word, int value) => BinaryPrimitives.WriteUInt16LittleEndian(Buffer.Span[(word * 2)..], (ushort)value);

    private void Ascii(int word, int length, string text) => IdeStrings.Write(Buffer.Span.Slice(word * 2, length), text);
}

/// <summary>Texts in identify data: padded with blanks, the bytes of each word swapped (ATA/ATAPI-6, 3.2.9).</summary>
internal static class IdeStrings
{
    public static void Write(Span<byte> target, string text)
    {
        target.Fill((byte)' ');
        for (var i = 0; i < Math.Min(text.Length, target.Length); i++) target[i ^ 1] = char.IsAscii(text[i]) ? (byte)text[i] : (byte)'?';
    }
}
