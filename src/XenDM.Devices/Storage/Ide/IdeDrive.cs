using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.Memory;
using XenDM.Core.State;

namespace XenDM.Devices.Storage.Ide;

/// <summary>Bits of the Status register (ATA/ATAPI-6, 7.15).</summary>
internal static class IdeStatus
{
    public const byte Err = 0x01;
    public const byte Drq = 0x08;
    public const byte Dsc = 0x10;
    public const byte DriveFault = 0x20;
    public const byte Drdy = 0x40;
    public const byte Bsy = 0x80;
}

/// <summary>Bits of the Error register (ATA/ATAPI-6, 7.8).</summary>
internal static class IdeError
{
    public const byte Abort = 0x04;
    public const byte IdNotFound = 0x10;
    public const byte Uncorrectable = 0x40;
}

/// <summary>What a drive is waiting for. The numbers are part of the saved state.</summary>
internal enum IdePhase : byte
{
    /// <summary>For a command.</summary>
    Idle = 0,

    /// <summary>For the host to read the window of the buffer.</summary>
    PioIn = 1,

    /// <summary>For the host to fill the window of the buffer.</summary>
    PioOut = 2,

    /// <summary>For the bus master, to move bytes to memory.</summary>
    DmaIn = 3,

    /// <summary>For the bus master, to fetch bytes from memory.</summary>
    DmaOut = 4,

    /// <summary>For the image: a read, write or flush is in flight.</summary>
    Image = 5,
}

/// <summary>
/// What disks and CD drives share: the task file with its previous contents (48-bit addressing), the sector buffer with a window for programmed
/// I/O, the one request to the image, and bus-master transfers straight between the image and guest pages. A command takes what it needs out
/// of the task file when it starts, so that later writes to the registers change nothing. Both drives of a channel see every write to the task
/// file, as on the cable.
/// </summary>
internal abstract class IdeDrive : IStateful
{
    protected const int BufferBytes = 64 * 1024;

    /// <summary>The most that one request to the image moves between guest pages and the file.</summary>
    private const int MaxSliceBytes = 1 << 20;
    private const int MaxPins = 257;

    private readonly MemoryPin[] _pins = new MemoryPin[MaxPins];
    [Glue("how many pins are held; none while the machine is saved, because its I/O is drained")]
    private int _pinCount;
    [Glue("a request is with the image; none while the machine is saved")]
    private bool _inFlight;
    [Glue("the request in flight belongs to a command that a reset ended; none while the machine is saved")]
    private bool _abandoned;
    [Glue("a new request waits for the abandoned one; none while the machine is saved")]
    private bool _waiting;
    [Glue("the request that waits for an abandoned one; none while the machine is saved")]
    private BlockOperation _imageOperation;
    [Glue("see _imageOperation")]
    private long _imageOffset;
    [Glue("see _imageOperation")]
    private long _imageLength;
    private byte _status;
    private byte _error;
    private byte _feature, _featureHob, _count, _countHob, _low, _lowHob, _mid, _midHob, _high, _highHob, _device;
    private bool _interrupt;
    private IdePhase _phase;
    private int _windowStart, _windowEnd;
    private bool _dmaToMemory;
    private long _dmaOffset;
    private long _dmaLeft;

    protected IdeDrive(IdeChannel channel, int unit)
    {
        Channel = channel;
        Unit = unit;
        Request = new BlockRequest(OnRequestDone);
    }

    /// <summary>0 master, 1 slave.</summary>
    public int Unit { get; }

    /// <summary>The drive asserts INTRQ, unless the host masks it.</summary>
    public bool Interrupt
    {
        get => _interrupt;
        set
        {
            _interrupt = value;
            Channel.UpdateInterrupt();
        }
    }

    public byte Status => _status;

    /// <summary>The drive waits for the bus master to run.</summary>
    public bool WantsDma => _phase is IdePhase.DmaIn or IdePhase.DmaOut;

    protected IdeChannel Channel { get; }

    protected BlockRequest Request { get; }

    protected PinnedBuffer Buffer { get; } = new(BufferBytes);

    protected IdePhase Phase => _phase;

    protected byte Feature => _feature;

    protected byte Count => _count;

    protected int Count16 => (_countHob << 8) | _count;

    protected byte Device => _device;

    protected byte Low => _low;

    protected byte Mid => _mid;

    protected byte High => _high;

    protected uint Lba24 => (uint)(_low | (_mid << 8) | (_high << 16));

    protected ulong Lba48 => Lba24 | ((ulong)(uint)(_lowHob | (_midHob << 8) | (_highHob << 16)) << 24);

    /// <summary>Where requests go; null when there is no medium.</summary>
    protected abstract IBlockBackend? Image { get; }

    /// <summary>Reads a register of the task file.</summary>
    /// <param name="offset">1 to 6.</param>
    /// <param name="previous">The contents before (HOB bit of Device Control).</param>
    public byte ReadRegister(int offset, bool previous) => offset switch
    {
        1 => previous ? _featureHob : _error,
        2 => previous ? _countHob : _count,
        3 => previous ? _lowHob : _low,
        4 => previous ? _midHob : _mid,
        5 => previous ? _highHob : _high,
        _ => (byte)(_device | 0xa0),
    };

    /// <inheritdoc cref="ReadRegister"/>
    public void WriteRegister(int offset, byte value)
    {
        switch (offset)
        {
            case 1: (_featureHob, _feature) = (_feature, value); break;
            case 2: (_countHob, _count) = (_count, value); break;
            case 3: (_lowHob, _low) = (_low, value); break;
            case 4: (_midHob, _mid) = (_mid, value); break;
            case 5: (_highHob, _high) = (_high, value); break;
            case 6: _device = value; break;
        }
    }

    /// <summary>The Command register. A drive that is busy or in a data phase does not listen.</summary>
    public void WriteCommand(byte command)
    {
        Interrupt = false;
        if ((_status & (IdeStatus.Bsy | IdeStatus.Drq)) != 0 && !IsAlwaysAccepted(command)) return;
        _error = 0;
        _status = IdeStatus.Drdy | IdeStatus.Dsc;
        Execute(command);
    }

    /// <summary>One item from the data register; without a data phase the bus floats.</summary>
    public uint ReadData(int size)
    {
        if (_phase != IdePhase.PioIn) return uint.MaxValue;
        Span<byte> item = stackalloc byte[4];
        item.Clear();
        var length = Math.Min(size, _windowEnd - _windowStart);
        Buffer.Span.Slice(_windowStart, length).CopyTo(item);
        AdvanceWindow(length);
        return BinaryPrimitives.ReadUInt32LittleEndian(item);
    }

    /// <summary>One item to the data register.</summary>
    public void WriteData(int size, uint value)
    {
        if (_phase != IdePhase.PioOut) return;
        Span<byte> item = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(item, value);
        var length = Math.Min(size, _windowEnd - _windowStart);
        item[..length].CopyTo(Buffer.Span[_windowStart..]);
        AdvanceWindow(length);
    }

    /// <summary>As many items as the window has; the rest floats.</summary>
    public void ReadDataBlock(int size, Span<byte> data)
    {
        Span<byte> item = stackalloc byte[4];
        while (!data.IsEmpty)
        {
            // A window may end inside an item only at odd lengths, which the item path knows how to pad.
            var length = _phase == IdePhase.PioIn ? Math.Min(data.Length, _windowEnd - _windowStart) / size * size : 0;
            if (length > 0)
            {
                Buffer.Span.Slice(_windowStart, length).CopyTo(data);
                AdvanceWindow(length);
            }
            else
            {
                length = Math.Min(size, data.Length);
                BinaryPrimitives.WriteUInt32LittleEndian(item, ReadData(size));
                item[..length].CopyTo(data);
            }

            data = data[length..];
        }
    }

    public void WriteDataBlock(int size, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty && _phase == IdePhase.PioOut)
        {
            var length = Math.Min(data.Length, _windowEnd - _windowStart);
            data[..length].CopyTo(Buffer.Span[_windowStart..]);
            AdvanceWindow(length);

            // Of an item that straddles the end of an odd window the rest is dropped.
            var used = Math.Min(data.Length, (length + size - 1) / size * size);
            data = data[used..];
        }
    }

    /// <summary>Ends whatever goes on; a request in flight is let go and its result ignored.</summary>
    public virtual void ResetDrive()
    {
        if (_inFlight) _abandoned = true;
        _waiting = false;
        _phase = IdePhase.Idle;
        _windowStart = _windowEnd = 0;
        _dmaLeft = 0;
        _dmaOffset = 0;
        _dmaToMemory = false;
        _featureHob = _countHob = _lowHob = _midHob = _highHob = _feature = 0;
        Interrupt = false;
        SetSignature();
    }

    /// <summary>The bus master was started: moves what the drive waits for.</summary>
    public abstract void RunDma();

    public virtual void State(StateVisitor s)
    {
        s.U8("status", ref _status);
        s.U8("error", ref _error);
        s.U8("feature", ref _feature);
        s.U8("feature_hob", ref _featureHob);
        s.U8("count", ref _count);
        s.U8("count_hob", ref _countHob);
        s.U8("lba_low", ref _low);
        s.U8("lba_low_hob", ref _lowHob);
        s.U8("lba_mid", ref _mid);
        s.U8("lba_mid_hob", ref _midHob);
        s.U8("lba_high", ref _high);
        s.U8("lba_high_hob", ref _highHob);
        s.U8("device", ref _device);
        s.Bool("interrupt", ref _interrupt);
        s.Enum("phase", ref _phase);
        s.I32("window_start", ref _windowStart, 0, BufferBytes);
        s.I32("window_end", ref _windowEnd, 0, BufferBytes);
        if (s.IsLoading && _windowStart > _windowEnd) s.Fail("window_start", "lies behind window_end");
        s.Bool("dma_to_memory", ref _dmaToMemory);
        s.I64("dma_offset", ref _dmaOffset);
        s.I64("dma_left", ref _dmaLeft);
        var used = IsBufferLive ? Buffer.Span.ToArray() : [];
        s.Blob("buffer", ref used, BufferBytes);
        if (s.IsLoading) used.CopyTo(Buffer.Span);
        if (s.IsLoading && _phase == IdePhase.Image) s.Fail("phase", "the image was at work");
    }

    protected abstract void Execute(byte command);

    /// <summary>Commands that end another one.</summary>
    protected virtual bool IsAlwaysAccepted(byte command) => false;

    /// <summary>Registers after reset and diagnostics (ATA/ATAPI-6, 9.12).</summary>
    protected abstract void SetSignature();

    /// <summary>The window was read or filled to its end.</summary>
    protected abstract void WindowDone();

    /// <summary>The request of this command is done; its error and count are in <see cref="Request"/>.</summary>
    protected abstract void ImageDone();

    /// <summary>Bus-master transfers of <see cref="StartDmaTransfer"/> are done, or failed with <see cref="BlockRequest.Error"/>.</summary>
    protected abstract void DmaDone();

    /// <summary>Bytes of the buffer are part of the state.</summary>
    private bool IsBufferLive => _phase is IdePhase.PioIn or IdePhase.PioOut || (WantsDma && _dmaLeft == 0);

    protected void SetSignature(byte mid, byte high, byte status)
    {
        _error = 1;
        _count = _low = 1;
        _mid = mid;
        _high = high;
        _device = (byte)(_device & 0x10);
        _status = status;
    }

    /// <summary>Sets the address registers of the task file, for results and failing sectors.</summary>
    protected void SetAddress(byte low, byte mid, byte high) => (_low, _mid, _high) = (low, mid, high);

    protected void SetAddressHob(byte low, byte mid, byte high) => (_lowHob, _midHob, _highHob) = (low, mid, high);

    protected void SetDeviceHead(byte head) => _device = (byte)((_device & 0xf0) | (head & 0x0f));

    protected void SetCount(byte value) => _count = value;

    protected void SetStatus(byte status) => _status = status;

    /// <summary>Ends a command well.</summary>
    protected void Complete()
    {
        _phase = IdePhase.Idle;
        _status = IdeStatus.Drdy | IdeStatus.Dsc;
        Interrupt = true;
    }

    /// <summary>Ends a command with an error.</summary>
    protected void Fail(byte error)
    {
        _phase = IdePhase.Idle;
        _error = error;
        _status = IdeStatus.Drdy | IdeStatus.Dsc | IdeStatus.Err;
        Interrupt = true;
    }

    /// <summary>Opens a window of the buffer to the host.</summary>
    /// <param name="interrupt">Commands that write begin without one (ATA/ATAPI-6, 9.6).</param>
    protected void OpenWindow(IdePhase phase, int start, int length, bool interrupt)
    {
        _phase = phase;
        _windowStart = start;
        _windowEnd = start + length;
        _status = IdeStatus.Drdy | IdeStatus.Dsc | IdeStatus.Drq;
        if (interrupt) Interrupt = true;
    }

    /// <summary>Waits for the bus master; the drive has its command and address.</summary>
    protected void AwaitDma(bool toMemory)
    {
        _phase = toMemory ? IdePhase.DmaIn : IdePhase.DmaOut;
        _dmaToMemory = toMemory;
        _status = IdeStatus.Drdy | IdeStatus.Dsc | IdeStatus.Drq;
        Channel.DriveWantsDma(this);
    }

    /// <summary>Sets what <see cref="StartDmaTransfer"/> will move, once the bus master runs.</summary>
    /// <param name="offset">In the image.</param>
    protected void PrepareDma(bool toMemory, long offset, long bytes)
    {
        _dmaOffset = offset;
        _dmaLeft = bytes;
        AwaitDma(toMemory);
    }

    /// <summary>Bytes of a prepared transfer that have not been moved.</summary>
    protected long DmaLeft => _dmaLeft;

    /// <summary>Moves the next slice of a prepared transfer between the image and guest pages, or ends it.</summary>
    protected void StartDmaTransfer()
    {
        if (_dmaLeft == 0)
        {
            Request.Error = 0;
            DmaDone();
            return;
        }

        if (_inFlight)
        {
            // The image still has the request of a command that a reset ended.
            _waiting = true;
            return;
        }

        if (_dmaToMemory && !Channel.Dma.Enabled)
        {
            // Without bus mastering the table cannot be read: the drive sends its data to nowhere and is done. It never takes any from there.
            _dmaLeft = 0;
            Request.Error = 0;
            DmaDone();
            return;
        }

        Request.ClearSegments();
        var result = CollectPins((int)Math.Min(_dmaLeft, MaxSliceBytes));
        if (Request.SegmentCount == 0)
        {
            ReleasePins(written: false);
            StopDma(result);
            return;
        }

        Request.Operation = _dmaToMemory ? BlockOperation.Read : BlockOperation.Write;
        Request.Offset = _dmaOffset;
        _status = IdeStatus.Drdy | IdeStatus.Bsy;
        Send();
    }

    /// <summary>The table is too short or points outside of RAM: the bus master shows it, and the drive gives the command up without an interrupt.</summary>
    private void StopDma(IdeDmaResult result)
    {
        Channel.DmaStopped(result == IdeDmaResult.Fault);
        _phase = IdePhase.Idle;
        _status = IdeStatus.Drdy | IdeStatus.Dsc;
        _dmaLeft = 0;
    }

    /// <summary>The bus master is about to be stopped: what is in flight between guest pages and the image is waited for.</summary>
    public void FinishDma()
    {
        if (_inFlight && _pinCount > 0 && !_abandoned) Image?.Drain();
    }

    /// <summary>Copies bytes of the buffer to memory through the bus master.</summary>
    /// <returns>False when the table was too short or pointed outside of RAM; the command has ended then.</returns>
    protected bool CopyBufferToMemory(int start, int length)
    {
        if (!Channel.Dma.Enabled) return true;
        while (length > 0)
        {
            var result = Channel.NextChunk(length, out var gpa, out var chunk);
            if (result == IdeDmaResult.Ok && !Channel.Dma.TryWrite(gpa, Buffer.Span.Slice(start, chunk))) result = IdeDmaResult.Fault;
            if (result != IdeDmaResult.Ok)
            {
                StopDma(result);
                return false;
            }

            start += chunk;
            length -= chunk;
        }

        return true;
    }

    /// <summary>Fills bytes of the buffer from memory.</summary>
    /// <inheritdoc cref="CopyBufferToMemory"/>
    protected bool CopyMemoryToBuffer(int start, int length)
    {
        while (length > 0)
        {
            var result = Channel.NextChunk(length, out var gpa, out var chunk);
            if (result == IdeDmaResult.Ok && !Channel.Dma.TryRead(gpa, Buffer.Span.Slice(start, chunk))) result = IdeDmaResult.Fault;
            if (result != IdeDmaResult.Ok)
            {
                StopDma(result);
                return false;
            }

            start += chunk;
            length -= chunk;
        }

        return true;
    }

    /// <summary>Moves bytes between the start of the buffer and the image, or flushes or discards.</summary>
    /// <param name="length">Bytes; for reads and writes at most <see cref="BufferBytes"/>.</param>
    protected void StartImage(BlockOperation operation, long offset, long length)
    {
        _phase = IdePhase.Image;
        _status = IdeStatus.Drdy | IdeStatus.Bsy;
        _imageOperation = operation;
        _imageOffset = offset;
        _imageLength = length;
        if (_inFlight) _waiting = true;
        else SendImage();
    }

    private void SendImage()
    {
        Request.ClearSegments();
        Request.Operation = _imageOperation;
        Request.Offset = _imageOffset;
        Request.Length = _imageLength;
        if (_imageOperation is BlockOperation.Read or BlockOperation.Write) Request.AddSegment(Buffer.Address, (int)_imageLength);
        Send();
    }

    private void Send()
    {
        _inFlight = true;
        if (Image is { } image) image.Submit(Request);
        else
        {
            Request.Error = 5;
            Request.BytesDone = 0;
            OnRequestDone(Request);
        }
    }

    private void OnRequestDone(BlockRequest request)
    {
        _inFlight = false;
        var isDma = _pinCount > 0;
        ReleasePins(written: request.Operation == BlockOperation.Read);
        if (_abandoned)
        {
            _abandoned = false;
            if (!_waiting) return;
            _waiting = false;
            if (_phase == IdePhase.Image) SendImage();
            else if (Channel.IsRunning) StartDmaTransfer();
            return;
        }

        if (!isDma)
        {
            ImageDone();
            return;
        }

        _dmaOffset += request.BytesDone;
        _dmaLeft -= Math.Min(_dmaLeft, request.BytesDone);
        if (request.Error != 0) DmaDone();
        else if (Channel.IsRunning) StartDmaTransfer();
        else _status = IdeStatus.Drdy | IdeStatus.Dsc | IdeStatus.Drq;
    }

    /// <summary>Pins the guest pages of the next slice, as the bus master's table lists them.</summary>
    private IdeDmaResult CollectPins(int bytes)
    {
        while (bytes > 0 && _pinCount < MaxPins)
        {
            var result = Channel.NextChunk(bytes, out var gpa, out var chunk);
            if (result != IdeDmaResult.Ok) return result;
            while (chunk > 0)
            {
                if (_pinCount == MaxPins || !Channel.Dma.TryPin(gpa, chunk, _dmaToMemory, out var pin))
                {
                    // What the table gave and is not used now is taken again by the next slice.
                    Channel.GiveBack(gpa, chunk);
                    return _pinCount == MaxPins ? IdeDmaResult.Ok : IdeDmaResult.Fault;
                }

                _pins[_pinCount++] = pin;
                Request.AddSegment(pin.Address, pin.Length);
                gpa += (ulong)pin.Length;
                chunk -= pin.Length;
                bytes -= pin.Length;
            }
        }

        return IdeDmaResult.Ok;
    }

    private void ReleasePins(bool written)
    {
        for (var i = 0; i < _pinCount; i++) Channel.Dma.Unpin(in _pins[i], written);
        _pinCount = 0;
    }

    private void AdvanceWindow(int bytes)
    {
        _windowStart += bytes;
        if (_windowStart < _windowEnd) return;
        _phase = IdePhase.Idle;
        _status = IdeStatus.Drdy | IdeStatus.Dsc;
        WindowDone();
    }
}
