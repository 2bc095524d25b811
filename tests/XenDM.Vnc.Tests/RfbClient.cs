using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace XenDM.Vnc.Tests;

/// <summary>A rectangle as it came: with the bytes behind its header, where their number is known without decoding.</summary>
internal sealed record Rectangle(int X, int Y, int Width, int Height, int Encoding, byte[] Data);

/// <summary>A VNC client that says what a test wants, right or wrong, and knows the encoding Raw with 32 bits.</summary>
internal sealed class RfbClient : IDisposable
{
    private readonly Socket? _socket;

    public RfbClient(int port)
    {
        _socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 20_000, SendTimeout = 20_000 };
        _socket.Connect(IPAddress.Loopback, port);
        Stream = new NetworkStream(_socket, ownsSocket: true);
    }

    public RfbClient(Stream stream) => Stream = stream;

    public Stream Stream { get; set; }

    public int Width { get; private set; }

    public int Height { get; private set; }

    public string Title { get; private set; } = "";

    public int BytesPerPixel { get; set; } = 4;

    /// <summary>What the raw rectangles added up to.</summary>
    public uint[] Picture { get; private set; } = [];

    public uint this[int x, int y] => Picture[(y * Width) + x];

    public void Send(params byte[] bytes) => Stream.Write(bytes);

    public byte[] Receive(int count)
    {
        var bytes = new byte[count];
        Stream.ReadExactly(bytes);
        return bytes;
    }

    public int Receive16() => BinaryPrimitives.ReadUInt16BigEndian(Receive(2));

    public uint Receive32() => BinaryPrimitives.ReadUInt32BigEndian(Receive(4));

    public string ReceiveText() => Encoding.UTF8.GetString(Receive((int)Receive32()));

    /// <summary>The server has closed the connection, or does so within the time a test waits.</summary>
    public bool IsClosed()
    {
        try
        {
            var buffer = new byte[4096];
            while (Stream.Read(buffer) > 0)
            {
            }

            return true;
        }
        catch (IOException e)
        {
            return e.InnerException is not SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.WouldBlock };
        }
    }

    /// <summary>All of the handshake, as a client that gets in does it.</summary>
    public void Handshake(int minor = 8, string? password = null, bool isShared = true)
    {
        Assert.Equal("RFB 003.008\n"u8.ToArray(), Receive(12));
        Send(Encoding.ASCII.GetBytes($"RFB 003.{minor:d3}\n"));
        var type = (byte)(password is null ? 1 : 2);
        if (minor < 7) Assert.Equal(type, Receive32());
        else
        {
            Assert.Equal([1, type], Receive(2));
            Send(type);
        }

        if (password is not null) Answer(password);
        if (password is not null || minor >= 8) Assert.Equal(0u, Receive32());
        Begin(isShared);
    }

    public void Answer(string password)
    {
        var answer = new byte[DesPassword.ChallengeLength];
        DesPassword.Answer(password, Receive(DesPassword.ChallengeLength), answer);
        Send(answer);
    }

    /// <summary>ClientInit and ServerInit.</summary>
    public void Begin(bool isShared = true)
    {
        Send((byte)(isShared ? 1 : 0));
        (Width, Height) = (Receive16(), Receive16());
        Assert.Equal(new byte[] { 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0 }, Receive(16));
        Title = ReceiveText();
        Picture = new uint[Width * Height];
    }

    public void SetEncodings(params int[] encodings)
    {
        var message = new byte[4 + (4 * encodings.Length)];
        message[0] = 2;
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(2), (ushort)encodings.Length);
        for (var i = 0; i < encodings.Length; i++) BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(4 + (4 * i)), encodings[i]);
        Send(message);
    }

    public void Request(bool isIncremental) => Request(isIncremental, 0, 0, Width, Height);

    public void Request(bool isIncremental, int x, int y, int width, int height) => Send([3, (byte)(isIncremental ? 1 : 0), .. Words(x, y, width, height)]);

    public void Key(uint keysym, bool down) => Send([4, (byte)(down ? 1 : 0), 0, 0, .. Long(keysym)]);

    public void QemuKey(uint keysym, uint code, bool down) => Send([255, 0, 0, (byte)(down ? 1 : 0), .. Long(keysym), .. Long(code)]);

    public void Point(int buttons, int x, int y) => Send([5, (byte)buttons, .. Words(x, y)]);

    public void Fence(uint flags, params byte[] data) => Send([248, 0, 0, 0, .. Long(flags), (byte)data.Length, .. data]);

    public static byte[] Words(params int[] values) => [.. values.SelectMany(static v => new[] { (byte)(v >> 8), (byte)v })];

    public static byte[] Long(uint value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];

    /// <summary>The next update; raw rectangles are in the picture then, too.</summary>
    public List<Rectangle> ReceiveUpdate()
    {
        Assert.Equal(0, Receive(1)[0]);
        Receive(1);
        var rectangles = new List<Rectangle>();
        for (var count = Receive16(); count > 0; count--)
        {
            var (x, y, width, height, encoding) = (Receive16(), Receive16(), Receive16(), Receive16(), (int)Receive32());
            var length = encoding switch
            {
                0 => width * height * BytesPerPixel,
                1 => 4,
                Rfb.LedState => 1,
                Rfb.ExtendedDesktopSize => 20,
                Rfb.Cursor => (width * height * BytesPerPixel) + ((width + 7) / 8 * height),
                Rfb.CursorWithAlpha => 4 + (width * height * 4),
                _ => 0,
            };
            var data = encoding == Rfb.DesktopName ? Encoding.UTF8.GetBytes(ReceiveText()) : Receive(length);
            rectangles.Add(new Rectangle(x, y, width, height, encoding, data));
            if (encoding == 0 && BytesPerPixel == 4) Put(rectangles[^1]);
            if (encoding == 1) Move(rectangles[^1]);
            if (encoding is Rfb.DesktopSize || (encoding == Rfb.ExtendedDesktopSize && x == 0))
            {
                (Width, Height) = (width, height);
                Picture = new uint[width * height];
            }
        }

        return rectangles;
    }

    /// <summary>Updates until one has a rectangle of this encoding.</summary>
    public Rectangle Find(int encoding)
    {
        while (true)
        {
            foreach (var rectangle in ReceiveUpdate())
                if (rectangle.Encoding == encoding) return rectangle;
        }
    }

    /// <summary>Asks and receives until a pixel is as it should be.</summary>
    public void Until(int x, int y, uint pixel)
    {
        while (this[x, y] != pixel)
        {
            Request(isIncremental: true);
            ReceiveUpdate();
        }
    }

    public void Dispose() => Stream.Dispose();

    private void Move(Rectangle rectangle)
    {
        var (fromX, fromY) = ((rectangle.Data[0] << 8) | rectangle.Data[1], (rectangle.Data[2] << 8) | rectangle.Data[3]);
        var before = (uint[])Picture.Clone();
        for (var y = 0; y < rectangle.Height; y++)
            before.AsSpan(((fromY + y) * Width) + fromX, rectangle.Width).CopyTo(Picture.AsSpan(((rectangle.Y + y) * Width) + rectangle.X));
    }

    private void Put(Rectangle rectangle)
    {
        for (var y = 0; y < rectangle.Height; y++)
            for (var x = 0; x < rectangle.Width; x++)
                Picture[((rectangle.Y + y) * Width) + rectangle.X + x] = BinaryPrimitives.ReadUInt32LittleEndian(rectangle.Data.AsSpan(4 * ((y * rectangle.Width) + x)));
    }
}
