using System;
using System.Buffers.Binary;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Display;
using XenDM.Vnc.Encodings;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc;

/// <summary>
/// One client that was let in. Its task reads messages and takes note of what they ask for: the picture goes out by <see cref="ClientOutput"/>, keys and
/// pointer go to the guest by <see cref="ClientInput"/>, each in a task of its own.
/// </summary>
internal sealed class VncClient : IDisposable
{
    /// <summary>Encodings of one message that are looked at.</summary>
    private const int MaxEncodings = 1024;

    private readonly RfbReader _reader;
    private readonly ClientInput _input;
    private readonly CancellationTokenSource _end;
    private bool _hasMoreButtons;

    /// <param name="stop">Ends the client with the server.</param>
    public VncClient(VncClientInfo info, RfbReader reader, bool isShared, ClientOutput output, Func<Action, ClientInput> input, CancellationToken stop)
    {
        Info = info;
        IsShared = isShared;
        Output = output;
        _reader = reader;
        _input = input(() => output.SetPointerMode(_input!.IsAbsolute));
        _end = CancellationTokenSource.CreateLinkedTokenSource(stop);
    }

    public VncClientInfo Info { get; }

    public bool IsShared { get; }

    public ClientOutput Output { get; }

    /// <summary>Called after a key or a movement went to the guest: the picture may change soon.</summary>
    public Action? Typed { get; set; }

    /// <summary>Sends the client away.</summary>
    public void End()
    {
        try
        {
            _end.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It left by itself just now.
        }
    }

    public void Dispose()
    {
        Output.Dispose();
        _end.Dispose();
    }

    /// <summary>Serves the client until it goes or is sent away.</summary>
    /// <exception cref="RfbException">It broke the protocol.</exception>
    public async Task RunAsync()
    {
        // The first of the three that ends, ends the others.
        Task[] tasks = [ReceiveAsync(_end.Token), Output.RunAsync(_end.Token), _input.RunAsync(_end.Token)];
        var first = await Task.WhenAny(tasks);
        await _end.CancelAsync();
        foreach (var task in tasks) await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await first;
    }

    private async Task ReceiveAsync(CancellationToken stop)
    {
        while (true)
        {
            var type = (await _reader.ReadAsync(1, stop)).Span[0];
            await (type switch
            {
                Rfb.SetPixelFormat => SetPixelFormatAsync(stop),
                Rfb.SetEncodings => SetEncodingsAsync(stop),
                Rfb.UpdateRequest => RequestUpdateAsync(stop),
                Rfb.KeyEvent => KeyAsync(stop),
                Rfb.PointerEvent => PointAsync(stop),
                Rfb.ClientCutText => CutTextAsync(stop),
                Rfb.EnableContinuousUpdates => SetContinuousAsync(stop),
                Rfb.ClientFence => FenceAsync(stop),
                Rfb.SetDesktopSize => SetSizeAsync(stop),
                Rfb.QemuClient => QemuAsync(stop),
                _ => throw new RfbException($"sent a message of the unknown type {type}"),
            });
        }
    }

    private async Task SetPixelFormatAsync(CancellationToken stop)
    {
        var message = await _reader.ReadAsync(3 + ClientFormat.Length, stop);
        if (!ClientFormat.TryRead(message.Span[3..], out var format)) throw new RfbException("wants a pixel format that cannot be");
        Output.SetFormat(format);
    }

    private async Task SetEncodingsAsync(CancellationToken stop)
    {
        const int perPiece = RfbReader.MaxPiece / 4;
        int count = BinaryPrimitives.ReadUInt16BigEndian((await _reader.ReadAsync(3, stop)).Span[1..]);
        var encodings = new int[Math.Min(count, MaxEncodings)];
        for (var i = 0; i < encodings.Length; i += perPiece)
        {
            var piece = await _reader.ReadAsync(4 * Math.Min(perPiece, encodings.Length - i), stop);
            for (var n = 0; n < piece.Length / 4; n++) encodings[i + n] = BinaryPrimitives.ReadInt32BigEndian(piece.Span[(4 * n)..]);
        }

        await _reader.SkipAsync(4L * (count - encodings.Length), stop);
        _hasMoreButtons = Array.IndexOf(encodings, Rfb.ExtendedMouseButtons) >= 0;
        Output.SetEncodings(encodings);
    }

    private async Task RequestUpdateAsync(CancellationToken stop)
    {
        var message = (await _reader.ReadAsync(9, stop)).Span;
        Output.Request(message[0] != 0, Area(message[1..]));
    }

    private async Task SetContinuousAsync(CancellationToken stop)
    {
        var message = (await _reader.ReadAsync(9, stop)).Span;
        Output.SetContinuous(message[0] != 0, Area(message[1..]));
    }

    private static PictureArea Area(ReadOnlySpan<byte> message) => new(
        BinaryPrimitives.ReadUInt16BigEndian(message), BinaryPrimitives.ReadUInt16BigEndian(message[2..]),
        BinaryPrimitives.ReadUInt16BigEndian(message[4..]), BinaryPrimitives.ReadUInt16BigEndian(message[6..]));

    private async Task KeyAsync(CancellationToken stop)
    {
        var message = await _reader.ReadAsync(7, stop);
        await _input.KeysymAsync(BinaryPrimitives.ReadUInt32BigEndian(message.Span[3..]), message.Span[0] != 0, stop);
        Typed?.Invoke();
    }

    private async Task PointAsync(CancellationToken stop)
    {
        const int more = 0x80, motionCentre = 0x7fff;
        var message = await _reader.ReadAsync(5, stop);
        var (buttons, x, y) = ((int)message.Span[0], BinaryPrimitives.ReadUInt16BigEndian(message.Span[1..]), BinaryPrimitives.ReadUInt16BigEndian(message.Span[3..]));
        if (_hasMoreButtons && (buttons & more) != 0) buttons = (buttons & ~more) | ((await _reader.ReadAsync(1, stop)).Span[0] << 7);
        if (Output.TakesMotion) await _input.MotionAsync(buttons, x - motionCentre, y - motionCentre, stop);
        else await _input.PlaceAsync(buttons, x, y, Output.Size, stop);
        Typed?.Invoke();
    }

    private async Task CutTextAsync(CancellationToken stop)
    {
        var message = await _reader.ReadAsync(7, stop);
        await Output.Clipboard.ReceiveAsync(_reader, BinaryPrimitives.ReadInt32BigEndian(message.Span[3..]), stop);
    }

    private async Task FenceAsync(CancellationToken stop)
    {
        var message = await _reader.ReadAsync(8, stop);
        var (flags, length) = (BinaryPrimitives.ReadUInt32BigEndian(message.Span[3..]), message.Span[7]);
        if (length > Rfb.MaxFence) throw new RfbException($"sends a fence of {length} bytes");
        var data = await _reader.ReadAsync(length, stop);
        if ((flags & Rfb.FenceRequest) == 0) Output.Confirm();
        else await Output.AnswerFenceAsync(flags & (Rfb.FenceBlockBefore | Rfb.FenceBlockAfter), data.ToArray(), stop);
    }

    private async Task SetSizeAsync(CancellationToken stop)
    {
        const int screenLength = 16;
        var screens = (await _reader.ReadAsync(7, stop)).Span[5];
        await _reader.SkipAsync(screens * screenLength, stop);
        Output.RefuseSize();
    }

    private async Task QemuAsync(CancellationToken stop)
    {
        switch ((await _reader.ReadAsync(1, stop)).Span[0])
        {
            case Rfb.QemuKey:
                var message = await _reader.ReadAsync(10, stop);
                var (down, keysym, code) = (message.Span[1] != 0 || message.Span[0] != 0, BinaryPrimitives.ReadUInt32BigEndian(message.Span[2..]), BinaryPrimitives.ReadUInt32BigEndian(message.Span[6..]));
                if (FromQemu(code) is var key and not 0) await _input.KeyAsync(key, down, stop);
                else await _input.KeysymAsync(keysym, down, stop);
                Typed?.Invoke();
                break;
            case Rfb.QemuAudio:
                // There is no sound to be had; the messages have their lengths all the same.
                var operation = BinaryPrimitives.ReadUInt16BigEndian((await _reader.ReadAsync(2, stop)).Span);
                if (operation == Rfb.QemuAudioSetFormat) await _reader.SkipAsync(6, stop);
                break;
            default:
                throw new RfbException("sent an unknown message of QEMU's");
        }
    }

    /// <summary>QEMU numbers keys by their set 1 scan code, with the prefix e0 as bit 7; Pause and Print Screen have numbers of their own.</summary>
    /// <returns>0 for no key.</returns>
    internal static ushort FromQemu(uint code) => code switch
    {
        0 or > 0xff or 0x80 => 0,
        0xc6 => 0xe11d,
        0x54 => 0xe037,
        < 0x80 => (ushort)code,
        _ => (ushort)(0xe000 | (code & 0x7f)),
    };
}
