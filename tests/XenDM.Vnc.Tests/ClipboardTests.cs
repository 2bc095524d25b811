using System.IO;
using System.IO.Compression;
using System.Linq;
using System.Text;
using XenDM.Vnc.Clipboard;

namespace XenDM.Vnc.Tests;

/// <summary>Texts go from one client of a guest to the others: of those that know the extended clipboard, and of those that do not.</summary>
public class ClipboardTests
{
    private const uint Text = 1, Caps = 1 << 24, Request = 1 << 25, Peek = 1 << 26, Notify = 1 << 27, Provide = 1 << 28;

    [Fact]
    public void ATextGoesFromOneToTheOthers()
    {
        using var host = new VncHost();
        using var owner = Connect(host);
        using var other = Connect(host);
        using var old = host.Connect();
        Send(owner, Notify | Text);
        Assert.Equal((Request | Text, ""), Receive(owner));
        Send(owner, Provide | Text, Pack("Grüße,\r\n€ 5\0"));
        Assert.Equal((Notify | Text, ""), Receive(other));
        Send(other, Request | Text);
        Assert.Equal((Provide | Text, "Grüße,\r\n€ 5\0"), Receive(other));
        Assert.Equal((0u, "Grüße,\n? 5"), Receive(old));

        // Nothing of it came back to its owner: the next that it hears is the answer to a question.
        Send(owner, Peek);
        Assert.Equal((Notify | Text, ""), Receive(owner));
    }

    [Fact]
    public void ATextOfAnOldClientGoesToTheOthers()
    {
        using var host = new VncHost();
        using var owner = host.Connect();
        using var other = Connect(host);
        owner.Send([6, 0, 0, 0, .. RfbClient.Long(5), .. "a\nb\u00e9\u00a3".Select(static c => (byte)c)]);
        Assert.Equal((Notify | Text, ""), Receive(other));
        Send(other, Request | Text);
        Assert.Equal((Provide | Text, "a\r\nb\u00e9\u00a3\0"), Receive(other));

        // One who comes later may ask for it too.
        using var late = Connect(host);
        Send(late, Request | Text);
        Assert.Equal(Provide | Text, Receive(late).Flags);
    }

    [Fact]
    public void WithoutATextThereIsNone()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        Send(client, Request | Text);
        Send(client, Peek);
        Assert.Equal((Notify, ""), Receive(client));
    }

    [Fact]
    public void AClientWithoutNotifyIsNotNotified()
    {
        using var host = new VncHost();
        using var owner = Connect(host);
        using var other = Connect(host);
        Send(other, Caps | Text | Request | Provide, [0, 0, 0, 0]);
        Send(other, Peek);
        Send(owner, Provide | Text, Pack("x\0"));
        host.Until(() => IsThere(owner));
        Send(other, Request | Text);
        Assert.Equal((Provide | Text, "x\0"), Receive(other));
    }

    [Fact]
    public void WhatIsTooLongGoesBy()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        Send(client, Provide | Text, Pack(new string('x', SharedClipboard.MaxBytes + 1) + "\0"));

        // A few hundred KiB that would become a GiB.
        Send(client, Provide | Text, Pack(new string('\0', 100 << 20)));
        client.Send([6, 0, 0, 0, .. RfbClient.Long(SharedClipboard.MaxBytes + 1), .. new byte[SharedClipboard.MaxBytes + 1]]);

        // Latin letters become two bytes each.
        client.Send([6, 0, 0, 0, .. RfbClient.Long(SharedClipboard.MaxBytes), .. Enumerable.Repeat((byte)0xe9, SharedClipboard.MaxBytes)]);
        Send(client, Peek);
        Assert.Equal((Notify, ""), Receive(client));
        Send(client, Provide | Text, Pack(new string('y', SharedClipboard.MaxBytes) + "\0"));
        Send(client, Peek);
        Assert.Equal((Notify | Text, ""), Receive(client));
    }

    [Fact]
    public void OtherFormatsGoBy()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        Send(client, Provide | 2, [1, 2, 3]);
        Send(client, Notify | 4);
        Send(client, 0x8000_0000 | Text, new byte[5000]);
        Send(client, Caps | Notify | 0xffff, new byte[64]);
        Send(client, Peek);
        Assert.Equal((Notify, ""), Receive(client));
    }

    [Theory]
    [InlineData(new byte[] { 1, 2, 3 })]
    [InlineData(new byte[] { 0x10, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7 })]
    [InlineData(new byte[] { 0x10, 0, 0, 1 })]
    [InlineData(new byte[] { 0x10, 0, 0, 1, 0x78, 0x9c })]
    [InlineData(new byte[] { 1, 0, 0, 3, 0, 0, 0, 0 })]
    public void NonsenseEndsTheConnection(byte[] message)
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.Send([6, 0, 0, 0, .. RfbClient.Long((uint)-message.Length), .. message]);
        Assert.True(client.IsClosed());
    }

    /// <summary>A length that promises more than there is.</summary>
    [Fact]
    public void ATextThatEndsEarlyEndsTheConnection()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        Send(client, Provide | Text, Zip([0, 0, 0, 9, 65]));
        Assert.True(client.IsClosed());
    }

    /// <summary>A client that knows the extension, after it was told what the server knows.</summary>
    private static RfbClient Connect(VncHost host)
    {
        var client = host.Connect();
        client.SetEncodings(0, ExtendedClipboard.Encoding);
        Assert.Equal((Caps | Text | Request | Peek | Notify | Provide, "\0\0\0\0"), Receive(client));
        return client;
    }

    private static bool IsThere(RfbClient client)
    {
        Send(client, Peek);
        return Receive(client).Flags == (Notify | Text);
    }

    private static void Send(RfbClient client, uint flags, byte[]? rest = null) => client.Send([6, 0, 0, 0, .. RfbClient.Long((uint)(-4 - (rest?.Length ?? 0))), .. RfbClient.Long(flags), .. rest ?? []]);

    /// <returns>Flags, 0 for a message without the extension, and the text, or the bytes behind the flags.</returns>
    private static (uint Flags, string Text) Receive(RfbClient client)
    {
        Assert.Equal([3, 0, 0, 0], client.Receive(4));
        var length = (int)client.Receive32();
        if (length >= 0) return (0, Encoding.Latin1.GetString(client.Receive(length)));
        var flags = client.Receive32();
        var rest = client.Receive(-length - 4);
        if ((flags & Provide) == 0 || (flags & Caps) != 0) return (flags, Encoding.Latin1.GetString(rest));
        using var zlib = new ZLibStream(new MemoryStream(rest), CompressionMode.Decompress);
        using var plain = new MemoryStream();
        zlib.CopyTo(plain);
        var bytes = plain.ToArray();
        Assert.Equal(RfbClient.Long((uint)(bytes.Length - 4)), bytes[..4]);
        return (flags, Encoding.UTF8.GetString(bytes[4..]));
    }

    private static byte[] Pack(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        return Zip([.. RfbClient.Long((uint)bytes.Length), .. bytes]);
    }

    private static byte[] Zip(byte[] bytes)
    {
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Fastest)) zlib.Write(bytes);
        return packed.ToArray();
    }
}
